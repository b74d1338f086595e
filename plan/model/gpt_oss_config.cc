// GPT-OSS: attention sinks, sliding windows on every second layer, biases everywhere, clamped gated units.
#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

constexpr int64_t kDefaultWindow = 128;

// `layer_types`, else windows on even layers.
void ReadAlternatingWindows(ConfigReader& config, ModelSpec& spec) {
  const int64_t window = config.IntOr("sliding_window", kDefaultWindow);
  if (config.Has("layer_types")) return ReadWindows(config, window, 0, spec);
  for (size_t l = 0; l < spec.layers.size(); l += 2) spec.layers[l].window = window;
}

}  // namespace

void ReadGptOss(ConfigReader& config, ModelSpec& spec) {
  // transformers would silently take the published settings.
  if (!config.HasMembers("rope_scaling") && !config.HasMembers("rope_parameters")) {
    config.Invalid("rope_scaling", "is missing");
  }
  spec.norm_multiply_in_f32 = true;
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", true);
  spec.attention.sinks = true;
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.router = RouterKind::kTopKSoftmax;
  spec.moe.router_bias = spec.moe.expert_bias = true;
  spec.moe.activation = Activation::kClampedGlu;
  spec.moe.activation_limit = config.NumberOr("swiglu_limit", 7.0);
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadAlternatingWindows(config, spec);
}

}  // namespace quantmoe
