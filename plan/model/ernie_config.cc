// ERNIE-4.5: neighbouring dimensions rotate together, and a bias helps to choose experts by their softmax.
#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

// Every `moe_layer_interval`-th layer from `moe_layer_start_index` to `moe_layer_end_index`, -1: the last
// one.
void ReadMoeLayers(ConfigReader& config, ModelSpec& spec) {
  const int64_t first = config.IntOr("moe_layer_start_index", 1, 0);
  const int64_t last = config.IntOr("moe_layer_end_index", -1, -1);
  const int64_t interval = config.IntOr("moe_layer_interval", 1);
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    LayerSpec& layer = spec.layers[l];
    layer.moe = (l + 1) % interval == 0 && l >= first && (last < 0 || l <= last);
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size");
  }
}

}  // namespace

void ReadErnieMoe(ConfigReader& config, ModelSpec& spec) {
  if (config.BoolOr("use_bias", false)) config.Unsupported("use_bias", "true is not implemented");
  RequireText(config, "moe_gate", "topk");
  RequireText(config, "moe_gate_act", "softmax");
  spec.tied_embeddings = config.BoolOr("tie_word_embeddings", true);
  spec.rope.interleaved = true;
  ReadExperts(config, "moe_num_experts", "moe_intermediate_size", spec, "moe_k");
  spec.moe.router = RouterKind::kBiasedSoftmax;
  spec.moe.correction_bias = config.BoolOr("moe_use_aux_free", true);
  spec.moe.least_weight_sum = config.NumberOr("moe_norm_min", 1e-12);
  const int64_t shared = config.Int("moe_num_shared_experts", 0, kMaxExperts);
  if (shared > 0) spec.moe.shared = SharedKind::kPlain;
  spec.moe.shared_width = shared * spec.moe.width;
  ReadMoeLayers(config, spec);
  ReadWindows(config, 0, 0, spec);
}

}  // namespace quantmoe
