// Qwen2 and Qwen3, dense and with experts.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

constexpr int64_t kMaxWindowLayers = 28;  // of the classes, when the key is absent

// Windows from `max_window_layers` on.
void ReadQwenWindows(ConfigReader& config, ModelSpec& spec) {
  const bool use = config.BoolOr("use_sliding_window", false);
  const int64_t first = config.IntOr("max_window_layers", kMaxWindowLayers, 0);
  ReadWindows(config, use ? WindowOr(config, kDefaultWindow) : 0, first, spec);
}

// transformers windows all layers of qwen3_moe, and of qwen2_moe every second one below `max_window_layers`;
// the published code and other runtimes window those from it on.
void ReadQwenMoeWindows(ConfigReader& config, ModelSpec& spec) {
  const bool use = config.BoolOr("use_sliding_window", false);
  const int64_t window = use ? WindowOr(config, kDefaultWindow) : 0;
  if (window > 0 && window < spec.max_position) {
    config.Unsupported("use_sliding_window", "true has no agreed meaning in this family");
  }
  ReadWindows(config, 0, 0, spec);
}

// Which layers have experts: `mlp_layer_types` of transformers 5, else `mlp_only_layers` and
// `decoder_sparse_step`.
void ReadSparseLayers(ConfigReader& config, ModelSpec& spec) {
  if (ReadMlpLayerTypes(config, spec)) return;
  const std::vector<int64_t> dense = config.Ints("mlp_only_layers");
  const int64_t step = config.IntOr("decoder_sparse_step", 1);
  for (int64_t layer : dense) {
    if (layer < 0 || layer >= spec.num_layers()) {
      return config.Invalid("mlp_only_layers",
                            absl::StrCat("names layer ", layer, " of ", spec.layers.size()));
    }
  }
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    const bool listed = std::find(dense.begin(), dense.end(), l) != dense.end();
    spec.layers[l].moe = !listed && (l + 1) % step == 0;
  }
}

// Qwen's mixture: some layers may be dense, and a model may have no expert at all.
void ReadQwenExperts(ConfigReader& config, ModelSpec& spec) {
  const bool none = config.IntOr(ExpertsKey(config, "num_experts"), 1, 0, kMaxExperts) == 0;
  if (!none) {
    ReadExperts(config, "num_experts", "moe_intermediate_size", spec);
    ReadSparseLayers(config, spec);
  }
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", false);
  for (LayerSpec& layer : spec.layers) {
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size");
  }
}

}  // namespace

void ReadQwen2(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = true;
  ReadDenseLayers(config, spec);
  ReadQwenWindows(config, spec);
}

void ReadQwen3(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDenseLayers(config, spec);
  ReadQwenWindows(config, spec);
}

void ReadQwen2Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = config.BoolOr("qkv_bias", true);
  ReadQwenExperts(config, spec);
  if (spec.moe.experts > 0) {
    spec.moe.shared = SharedKind::kSigmoidGated;
    spec.moe.shared_width = config.Int("shared_expert_intermediate_size");
  }
  ReadQwenMoeWindows(config, spec);
}

void ReadQwen3Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadQwenExperts(config, spec);
  ReadQwenMoeWindows(config, spec);
}

// Every image model of the family renormalizes, whatever its file says.
void ReadQwen3VlMoe(ConfigReader& config, ModelSpec& spec) {
  if (!config.BoolOr("norm_topk_prob", true)) {
    config.Unsupported("norm_topk_prob", "false is unknown for this family");
  }
  ReadQwen3Moe(config, spec);
  spec.moe.renormalize = true;
}

}  // namespace quantmoe
