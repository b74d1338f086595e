// Phi-3.5-MoE: LayerNorm, biases, SparseMixer routing of two experts.
#include "absl/strings/str_cat.h"

#include "plan/model/family_readers.h"

namespace quantmoe {

void ReadPhimoe(ConfigReader& config, ModelSpec& spec) {
  spec.norm = NormKind::kLayerNorm;
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.head_bias = config.BoolOr("lm_head_bias", false);
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.router = RouterKind::kSparseMixer;
  spec.moe.jitter = config.NumberOr("router_jitter_noise", 0.01);
  if (spec.moe.top_k != 2) {
    config.Unsupported("num_experts_per_tok", absl::StrCat("is ", spec.moe.top_k, "; this router chooses 2"));
  }
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  const int64_t window = config.IntOr("sliding_window", 0);
  ReadWindows(config, window < spec.max_position ? window : 0, 0, spec, LayerTypes::kMustAgree);
}

}  // namespace quantmoe
