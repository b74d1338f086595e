#include "plan/model/family_readers.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {

void RequireText(ConfigReader& config, absl::string_view key, absl::string_view only) {
  const std::string text = config.TextOr(key, only);
  if (text == only) return;
  config.Unsupported(key, absl::StrCat("is \"", text.substr(0, 40), "\"; only ", only, " is supported"));
}

void ReadWindows(ConfigReader& config, int64_t window, int64_t first_layer, ModelSpec& spec,
                 LayerTypes meaning) {
  const std::vector<std::string> types = config.Texts("layer_types");
  if (!types.empty() && types.size() != spec.layers.size()) {
    config.Invalid("layer_types",
                   absl::StrCat("has ", types.size(), " entries for ", spec.layers.size(), " layers"));
  }
  if (!config.status().ok()) return;
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const int64_t without_types = static_cast<int64_t>(l) >= first_layer ? window : 0;
    spec.layers[l].window = without_types;
    if (types.empty()) continue;
    const bool sliding = types[l] == "sliding_attention";
    if (!sliding && types[l] != "full_attention") {
      config.Unsupported("layer_types", absl::StrCat("has \"", types[l].substr(0, 40), "\""));
    }
    if (sliding && window == 0) {
      config.Invalid("sliding_window", "is missing although layer_types has sliding_attention");
    }
    spec.layers[l].window = sliding ? window : 0;
    if (meaning == LayerTypes::kMustAgree && spec.layers[l].window != without_types) {
      config.Unsupported("layer_types",
                         absl::StrCat("has \"", types[l], "\" for layer ", l,
                                      " against sliding_window, which has no agreed meaning in "
                                      "this family"));
    }
  }
}

int64_t WindowOr(ConfigReader& config, int64_t absent) {
  return config.IntOr("sliding_window", config.Named("sliding_window") ? 0 : absent);
}

absl::string_view ExpertsKey(ConfigReader& config, absl::string_view published) {
  absl::string_view key = config.Has(published) ? published : "";
  for (const absl::string_view name : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    if (!config.Has(name) || name == key) continue;
    if (!key.empty() && config.At(name) != config.At(key)) {
      config.Invalid(name, absl::StrCat("is not the number that ", key, " says"));
    }
    if (key.empty()) key = name;
  }
  return key.empty() ? published : key;
}

void ReadExperts(ConfigReader& config, absl::string_view experts_key, absl::string_view width_key,
                 ModelSpec& spec, absl::string_view top_k_key) {
  spec.moe.experts = config.Int(ExpertsKey(config, experts_key), 1, kMaxExperts);
  spec.moe.top_k = config.Int(top_k_key, 1, kMaxExperts);
  spec.moe.width = config.Int(width_key);
  if (spec.moe.top_k > spec.moe.experts) {
    config.Invalid(top_k_key,
                   absl::StrCat("is ", spec.moe.top_k, ", more than ", spec.moe.experts, " experts"));
  }
}

void ReadDenseLayers(ConfigReader& config, ModelSpec& spec) {
  const int64_t width = config.Int("intermediate_size");
  for (LayerSpec& layer : spec.layers) layer.dense_width = width;
}

bool ReadMlpLayerTypes(ConfigReader& config, ModelSpec& spec) {
  const std::vector<std::string> types = config.Texts("mlp_layer_types");
  if (types.empty()) return false;
  if (types.size() != spec.layers.size()) {
    config.Invalid("mlp_layer_types",
                   absl::StrCat("has ", types.size(), " entries for ", spec.layers.size(), " layers"));
    return true;
  }
  for (size_t l = 0; l < types.size(); ++l) {
    spec.layers[l].moe = types[l] == "sparse";
    if (types[l] != "dense" && types[l] != "sparse") {
      config.Unsupported("mlp_layer_types", absl::StrCat("has \"", types[l].substr(0, 40), "\""));
    }
  }
  return true;
}

}  // namespace quantmoe
