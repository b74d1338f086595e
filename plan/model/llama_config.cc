// Llama and Mistral, and the mixtures that are these with experts: Mixtral and OLMoE.
#include "plan/model/family_readers.h"

namespace quantmoe {

void ReadLlama(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  ReadDenseLayers(config, spec);
  ReadWindows(config, 0, 0, spec);
}

void ReadMistral(ConfigReader& config, ModelSpec& spec) {
  ReadDenseLayers(config, spec);
  ReadWindows(config, WindowOr(config, kDefaultWindow), 0, spec, LayerTypes::kMustAgree);
}

void ReadOlmoe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kFullWidth;
  spec.attention.clip_qkv = config.NumberOr("clip_qkv", 0);
  ReadExperts(config, "num_experts", "intermediate_size", spec);
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", false);
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, 0, 0, spec);
}

void ReadMixtral(ConfigReader& config, ModelSpec& spec) {
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.renormalize = true;
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, config.IntOr("sliding_window", 0), 0, spec, LayerTypes::kMustAgree);
}

}  // namespace quantmoe
