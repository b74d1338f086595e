// The families that use DeepSeek's experts: shared ones that are added plainly, and leading dense layers.
#include <optional>

#include "absl/strings/str_cat.h"

#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

void RequireOne(ConfigReader& config, absl::string_view key) {
  if (config.NumberOr(key, 1) != 1) config.Unsupported(key, "other than 1 is unknown for this family");
}

// Which layers have experts: `mlp_layer_types`, else all from `first_k_dense_replace` on, which is `absent`
// where the family has a default.
void ReadLeadingDense(ConfigReader& config, std::optional<int64_t> absent, ModelSpec& spec) {
  constexpr absl::string_view kDense = "first_k_dense_replace";
  if (!ReadMlpLayerTypes(config, spec)) {
    const int64_t dense = absent && !config.Has(kDense) ? *absent : config.Int(kDense, 0, spec.num_layers());
    for (int64_t l = 0; l < spec.num_layers(); ++l) spec.layers[l].moe = l >= dense;
  }
  for (LayerSpec& layer : spec.layers) {
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size");
  }
}

// How a family names the numbers of experts, and what it takes where they are missing.
struct ExpertKeys {
  std::optional<int64_t> leading_dense;  // none: first_k_dense_replace must be there
  absl::string_view routed = "n_routed_experts";
  absl::string_view shared = "n_shared_experts";
  int64_t absent_shared = 0;
};

void ReadDeepSeekExperts(ConfigReader& config, bool renormalize, ModelSpec& spec,
                         const ExpertKeys& keys = {}) {
  ReadExperts(config, keys.routed, "moe_intermediate_size", spec);
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", renormalize);
  const int64_t shared = config.IntOr(keys.shared, keys.absent_shared, 0, kMaxExperts);
  if (shared > 0) {
    spec.moe.shared = SharedKind::kPlain;
    spec.moe.shared_width = shared * spec.moe.width;
  }
  ReadLeadingDense(config, keys.leading_dense, spec);
}

// `best`: how many choices of a group its score is made of.
void ReadGroups(ConfigReader& config, int64_t best, ModelSpec& spec) {
  MoeSpec& moe = spec.moe;
  moe.groups = config.IntOr("n_group", 1, 1, kMaxExperts);
  moe.top_k_groups = config.IntOr("topk_group", 1, 1, moe.groups);
  if (moe.experts % moe.groups != 0 || moe.experts / moe.groups < best) {
    return config.Invalid("n_group", absl::StrCat("is ", moe.groups, ", which does not cut ", moe.experts,
                                                  " experts into groups of ", best, " or more"));
  }
  if (moe.top_k > moe.experts / moe.groups * moe.top_k_groups) {
    config.Invalid("topk_group", absl::StrCat("is ", moe.top_k_groups, ", which leaves fewer than ",
                                              moe.top_k, " experts"));
  }
}

// The router without auxiliary loss of DeepSeek-V3 (arXiv 2412.19437, section 2.1.2).
void ReadNoAuxTc(ConfigReader& config, double routed_scale, ModelSpec& spec) {
  // dots.llm1 names the whole method where others name the function.
  if (config.TextOr("scoring_func", "") != "noaux_tc") RequireText(config, "scoring_func", "sigmoid");
  RequireText(config, "topk_method", "noaux_tc");
  spec.moe.router = RouterKind::kNoAuxTc;
  spec.moe.correction_bias = true;
  spec.moe.routed_scale = config.NumberOr("routed_scaling_factor", routed_scale);
  ReadGroups(config, /*best=*/2, spec);
}

void RequireLatentAttention(ConfigReader& config, const ModelSpec& spec) {
  if (!spec.attention.mla) config.Invalid("kv_lora_rank", "is missing");
}

}  // namespace

void ReadDeepSeek(ConfigReader& config, ModelSpec& spec) {
  if (spec.attention.mla || spec.architecture == "DeepseekV2ForCausalLM") return ReadDeepSeekV2(config, spec);
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  RequireText(config, "scoring_func", "softmax");
  RequireText(config, "topk_method", "greedy");
  RequireOne(config, "n_group");
  RequireOne(config, "routed_scaling_factor");
  ReadDeepSeekExperts(config, /*renormalize=*/false, spec);
  ReadWindows(config, 0, 0, spec);
}

void ReadDeepSeekV2(ConfigReader& config, ModelSpec& spec) {
  RequireLatentAttention(config, spec);
  RequireText(config, "scoring_func", "softmax");
  ReadDeepSeekExperts(config, /*renormalize=*/false, spec);
  ReadWindows(config, 0, 0, spec);
  spec.moe.router = RouterKind::kDeepSeekV2;
  spec.moe.routed_scale = config.NumberOr("routed_scaling_factor", 1);
  // The published code renormalizes instead of scaling, transformers never does, other runtimes do both.
  if (spec.moe.renormalize) config.Unsupported("norm_topk_prob", "true has no agreed meaning in this family");
  const std::string method = config.TextOr("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    ReadGroups(config, /*best=*/1, spec);
  } else if (method != "greedy") {
    config.Unsupported("topk_method", absl::StrCat("is \"", method.substr(0, 40),
                                                   "\"; supported are greedy and group_limited_greedy"));
  }
}

void ReadDeepSeekV3(ConfigReader& config, ModelSpec& spec) {
  RequireLatentAttention(config, spec);
  ReadDeepSeekExperts(config, /*renormalize=*/true, spec);
  ReadWindows(config, 0, 0, spec);
  if (!config.Has("n_group")) config.Invalid("n_group", "is missing");
  ReadNoAuxTc(config, /*routed_scale=*/2.5, spec);
}

void ReadGlm4Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = config.BoolOr("attention_bias", false);
  if (config.BoolOr("use_qk_norm", false)) spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDeepSeekExperts(config, /*renormalize=*/true, spec);
  ReadWindows(config, 0, 0, spec);
  ReadNoAuxTc(config, /*routed_scale=*/1.0, spec);
}

void ReadGlm4vMoe(ConfigReader& config, ModelSpec& spec) {
  if (config.BoolOr("use_qk_norm", false))
    config.Unsupported("use_qk_norm", "true is unknown for this family");
  ReadGlm4Moe(config, spec);
  spec.attention.bias_qkv = config.BoolOr("attention_bias", true);
}

void ReadGlm4MoeLite(ConfigReader& config, ModelSpec& spec) {
  RequireLatentAttention(config, spec);
  ReadDeepSeekExperts(config, /*renormalize=*/true, spec, {.leading_dense = 1});
  ReadWindows(config, 0, 0, spec);
  ReadNoAuxTc(config, /*routed_scale=*/1.8, spec);
}

void ReadSolarOpen(ConfigReader& config, ModelSpec& spec) {
  if (!config.Has("head_dim")) config.Invalid("head_dim", "is missing");
  if (config.BoolOr("use_qk_norm", false))
    config.Unsupported("use_qk_norm", "true is unknown for this family");
  spec.attention.bias_qkv = config.BoolOr("attention_bias", false);
  ReadDeepSeekExperts(config, /*renormalize=*/true, spec, {.leading_dense = 0, .absent_shared = 1});
  ReadWindows(config, 0, 0, spec);
  ReadNoAuxTc(config, /*routed_scale=*/1.0, spec);
}

void ReadExaoneMoe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDeepSeekExperts(
      config, /*renormalize=*/true, spec,
      {.leading_dense = 1, .routed = "num_experts", .shared = "num_shared_experts", .absent_shared = 1});
  ReadNoAuxTc(config, /*routed_scale=*/2.5, spec);
  const int64_t window = config.IntOr("sliding_window", config.Named("sliding_window") ? 0 : 4096);
  ReadWindows(config, window, 0, spec);
  const int64_t pattern = config.Has("layer_types") ? 1 : config.IntOr("sliding_window_pattern", 4);
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    LayerSpec& layer = spec.layers[l];
    if (!config.Has("layer_types") && (l + 1) % pattern == 0) layer.window = 0;
    layer.rope = window == 0 || layer.window > 0;
  }
}

void ReadHyV3(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDeepSeekExperts(
      config, /*renormalize=*/true, spec,
      {.leading_dense = 1, .routed = "num_experts", .shared = "num_shared_experts", .absent_shared = 1});
  spec.moe.router = RouterKind::kNoAuxTc;
  spec.moe.correction_bias = true;
  spec.moe.routed_scale = config.NumberOr("router_scaling_factor", 2.826);
  ReadWindows(config, 0, 0, spec);
}

void ReadDots1(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDeepSeekExperts(config, /*renormalize=*/false, spec, {.leading_dense = 0});
  ReadNoAuxTc(config, /*routed_scale=*/1.0, spec);
  // The class default is 4096 from layer 62 on, so an absent key and a null one differ.
  const bool absent = !config.Named("sliding_window");
  ReadWindows(config, absent ? 4096 : config.IntOr("sliding_window", 0),
              config.IntOr("max_window_layers", 62, 0), spec);
}

}  // namespace quantmoe
