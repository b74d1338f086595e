// MiniMax-M2: DeepSeek-V3's router without groups over Mixtral's experts, norms over the whole width of
// queries and keys, part of each head rotated.
#include <algorithm>

#include "plan/model/family_readers.h"

namespace quantmoe {

void ReadMiniMaxM2(ConfigReader& config, ModelSpec& spec) {
  const std::vector<int64_t> full = config.Ints("attn_type_list");
  if (std::any_of(full.begin(), full.end(), [](int64_t type) { return type != 1; })) {
    config.Unsupported("attn_type_list", "has layers that are not full attention");
  }
  for (const char* key : {"use_qk_norm", "use_routing_bias"}) {
    if (!config.BoolOr(key, true)) config.Unsupported(key, "false is not implemented");
  }
  RequireText(config, "qk_norm_type", "per_layer");
  RequireText(config, "scoring_func", "sigmoid");
  if (config.IntOr("shared_intermediate_size", 0, 0) != 0) {
    config.Unsupported("shared_intermediate_size", "other than 0 is not implemented");
  }
  spec.attention.qk_norm = QkNorm::kFullWidth;
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.router = RouterKind::kNoAuxTc;
  spec.moe.correction_bias = spec.moe.renormalize = true;
  for (LayerSpec& layer : spec.layers) layer.moe = true;
  ReadWindows(config, 0, 0, spec);
}

}  // namespace quantmoe
