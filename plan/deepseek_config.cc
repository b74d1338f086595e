// The families that use DeepSeek's experts: shared ones that are added plainly, and leading dense layers.
#include "absl/strings/str_cat.h"

#include "plan/family_readers.h"

namespace quantmoe {
namespace {

void RequireText(ConfigReader& config, absl::string_view key, absl::string_view only) {
  const std::string text = config.TextOr(key, only);
  if (text == only) return;
  config.Unsupported(key, absl::StrCat("is \"", text.substr(0, 40), "\"; only ", only, " is supported"));
}

void RequireOne(ConfigReader& config, absl::string_view key) {
  if (config.NumberOr(key, 1) != 1) config.Unsupported(key, "other than 1 is unknown for this family");
}

// Which layers have experts: `mlp_layer_types`, else all from `first_k_dense_replace` on.
void ReadLeadingDense(ConfigReader& config, ModelSpec& spec) {
  if (!ReadMlpLayerTypes(config, spec)) {
    const int64_t dense = config.Int("first_k_dense_replace", 0, spec.num_layers());
    for (int64_t l = 0; l < spec.num_layers(); ++l) spec.layers[l].moe = l >= dense;
  }
  for (LayerSpec& layer : spec.layers) {
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size");
  }
}

void ReadDeepSeekExperts(ConfigReader& config, bool renormalize, ModelSpec& spec) {
  ReadExperts(config, "n_routed_experts", "moe_intermediate_size", spec);
  spec.moe.renormalize = config.BoolOr("norm_topk_prob", renormalize);
  const int64_t shared = config.IntOr("n_shared_experts", 0, 0, kMaxExperts);
  if (shared > 0) {
    spec.moe.shared = SharedKind::kPlain;
    spec.moe.shared_width = shared * spec.moe.width;
  }
  ReadLeadingDense(config, spec);
  ReadWindows(config, 0, 0, spec);
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
  RequireText(config, "scoring_func", "sigmoid");
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
}

void ReadDeepSeekV2(ConfigReader& config, ModelSpec& spec) {
  RequireLatentAttention(config, spec);
  RequireText(config, "scoring_func", "softmax");
  ReadDeepSeekExperts(config, /*renormalize=*/false, spec);
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
  if (!config.Has("n_group")) config.Invalid("n_group", "is missing");
  ReadNoAuxTc(config, /*routed_scale=*/2.5, spec);
}

void ReadGlm4Moe(ConfigReader& config, ModelSpec& spec) {
  spec.attention.bias_qkv = config.BoolOr("attention_bias", false);
  if (config.BoolOr("use_qk_norm", false)) spec.attention.qk_norm = QkNorm::kPerHead;
  ReadDeepSeekExperts(config, /*renormalize=*/true, spec);
  ReadNoAuxTc(config, /*routed_scale=*/1.0, spec);
}

}  // namespace quantmoe
