// Granite 3 MoE: four multipliers around a plain decoder.
#include "plan/model/family_readers.h"

namespace quantmoe {

void ReadGraniteMoe(ConfigReader& config, ModelSpec& spec) {
  spec.embedding_multiplier = config.NumberOr("embedding_multiplier", 1);
  spec.residual_multiplier = config.NumberOr("residual_multiplier", 1);
  spec.logits_divisor = config.NumberOr("logits_scaling", 1);
  spec.attention.scale = config.NumberOr("attention_multiplier", 1);
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.router = RouterKind::kTopKSoftmax;
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, 0, 0, spec);
}

}  // namespace quantmoe
