// Hunyuan-A13B: norms of queries and keys after rotation, one shared expert, a router that computes in f32.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

// Numbers that published files give once or for each layer; layers must agree.
int64_t UniformInt(ConfigReader& config, absl::string_view key, int64_t max) {
  const nlohmann::json& value = config.At(key);
  if (!value.is_array()) return config.Int(key, 1, max);
  const std::vector<int64_t> numbers = config.Ints(key);
  if (numbers.empty() || numbers.front() < 1 || numbers.front() > max) {
    config.Invalid(key, absl::StrCat("has no number in [1, ", max, "] for the first layer"));
    return 1;
  }
  if (std::any_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n != numbers.front(); })) {
    config.Unsupported(key, "differs between layers");
  }
  return numbers.front();
}

// Options of the published code that would change the arithmetic. `false` stands for 0 and for no number.
void RefuseOptions(ConfigReader& config) {
  struct Option {
    absl::string_view key;
    double neutral;
  };
  for (const auto& [key, neutral] :
       {Option{"use_cla", 0}, Option{"use_mla", 0}, Option{"n_group", 1}, Option{"routed_scaling_factor", 1},
        Option{"group_limited_greedy", 0}, Option{"moe_layer_num_skipped", 0},
        Option{"position_embedding_xdrope", 0}}) {
    const nlohmann::json& value = config.At(key);
    const bool off = value.is_null() || value == false;
    const bool same = value.is_number() && (value.get<double>() == neutral || value.get<double>() == 0);
    if (!off && !same) config.Unsupported(key, "would change the arithmetic and is not implemented");
  }
  for (const char* key : {"use_mixed_mlp_moe", "norm_topk_prob"}) {
    if (!config.BoolOr(key, true)) config.Unsupported(key, "false is not implemented");
  }
}

}  // namespace

void ReadHunyuanMoe(ConfigReader& config, ModelSpec& spec) {
  RefuseOptions(config);
  spec.attention.bias_qkv = spec.attention.bias_o = config.BoolOr("attention_bias", false);
  if (config.BoolOr("use_qk_norm", true)) spec.attention.qk_norm = QkNorm::kPerHeadAfterRope;
  MoeSpec& moe = spec.moe;
  moe.experts = UniformInt(config, "num_experts", kMaxExperts);
  moe.top_k = UniformInt(config, "moe_topk", kMaxExperts);
  moe.width = moe.shared_width = config.Int("intermediate_size");
  if (moe.top_k > moe.experts) {
    config.Invalid("moe_topk", absl::StrCat("is ", moe.top_k, ", more than ", moe.experts, " experts"));
  }
  if (config.Has("moe_intermediate_size") &&
      UniformInt(config, "moe_intermediate_size", kMaxModelDimension) != moe.width) {
    config.Unsupported("moe_intermediate_size", "is not intermediate_size");
  }
  if (config.Has("num_shared_expert") && UniformInt(config, "num_shared_expert", kMaxExperts) != 1) {
    config.Unsupported("num_shared_expert", "is not 1");
  }
  moe.renormalize = moe.router_in_f32 = true;
  moe.shared = SharedKind::kPlain;
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, 0, 0, spec);
}

}  // namespace quantmoe
