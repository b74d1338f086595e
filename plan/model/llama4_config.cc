// Llama-4: attention within chunks, layers without positions, experts whose inputs the router scales.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "plan/model/family_readers.h"

namespace quantmoe {
namespace {

constexpr int64_t kDefaultChunk = 8192;
constexpr int64_t kDefaultFloor = 8192;

// Published files have `true`, or a number where the class has a truth value.
bool Flag(ConfigReader& config, absl::string_view key, bool absent) {
  return config.At(key).is_number() ? config.NumberOr(key, 0, -1) != 0 : config.BoolOr(key, absent);
}

// `moe_layers`, else every `interleave_moe_layer_step`-th.
void ReadMoeLayers(ConfigReader& config, ModelSpec& spec) {
  const int64_t step = config.IntOr("interleave_moe_layer_step", 1);
  const std::vector<int64_t> listed = config.Ints("moe_layers");
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    spec.layers[l].moe = config.Has("moe_layers") ? std::find(listed.begin(), listed.end(), l) != listed.end()
                                                  : (l + 1) % step == 0;
  }
  for (LayerSpec& layer : spec.layers) {
    if (!layer.moe) layer.dense_width = config.Int("intermediate_size_mlp");
  }
}

// `no_rope_layers` has a 1 for each layer with positions; without it every fourth layer has none.
void ReadRopeLayers(ConfigReader& config, ModelSpec& spec) {
  const std::vector<int64_t> rope = config.Ints("no_rope_layers");
  if (!rope.empty() && rope.size() < spec.layers.size()) {
    return config.Invalid("no_rope_layers",
                          absl::StrCat("has ", rope.size(), " entries for ", spec.layers.size(), " layers"));
  }
  const int64_t interval = config.IntOr("no_rope_layer_interval", 4);
  for (int64_t l = 0; l < spec.num_layers(); ++l) {
    spec.layers[l].rope = rope.empty() ? (l + 1) % interval != 0 : rope[l] != 0;
  }
}

// Layers with positions attend within chunks, unless `layer_types` says otherwise.
void ReadChunks(ConfigReader& config, ModelSpec& spec) {
  const std::vector<std::string> types = config.Texts("layer_types");
  if (!types.empty() && types.size() != spec.layers.size()) {
    return config.Invalid("layer_types",
                          absl::StrCat("has ", types.size(), " entries for ", spec.layers.size(), " layers"));
  }
  const bool named = config.Named("attention_chunk_size");
  const int64_t chunk = config.IntOr("attention_chunk_size", named ? 0 : kDefaultChunk);
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const bool chunked = types.empty() ? spec.layers[l].rope : types[l] == "chunked_attention";
    if (!types.empty() && !chunked && types[l] != "full_attention") {
      return config.Unsupported("layer_types", absl::StrCat("has \"", types[l].substr(0, 40), "\""));
    }
    if (chunked && chunk == 0) {
      return config.Invalid("attention_chunk_size", "is null although layers attend within chunks");
    }
    spec.layers[l].chunk = chunked ? chunk : 0;
  }
}

}  // namespace

void ReadLlama4(ConfigReader& config, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  if (!config.Has("head_dim")) config.Invalid("head_dim", "is missing");
  attention.bias_qkv = attention.bias_o = config.BoolOr("attention_bias", false);
  if (config.BoolOr("use_qk_norm", true)) attention.qk_norm = QkNorm::kUnitAfterRope;
  if (Flag(config, "attn_temperature_tuning", true)) {
    attention.temperature_floor = config.NumberOr("floor_scale", kDefaultFloor);
    attention.temperature_scale = config.NumberOr("attn_scale", 0.1, -1);
  }
  spec.rope.interleaved = true;
  ReadExperts(config, "num_local_experts", "intermediate_size", spec);
  spec.moe.router = RouterKind::kTopKSigmoid;
  spec.moe.scale_input = true;
  spec.moe.shared = SharedKind::kPlain;
  spec.moe.shared_width = spec.moe.width;
  ReadMoeLayers(config, spec);
  ReadRopeLayers(config, spec);
  ReadChunks(config, spec);
}

}  // namespace quantmoe
