#include "tests/plan/synthetic_table.h"

#include <cmath>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"

#include "nlohmann/json.hpp"
#include "plan/model/model_config.h"

namespace quantmoe {

std::string MixtralConfig() {
  return R"({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "hidden_size": 4096,
             "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
             "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000,
             "max_position_embeddings": 32768, "rope_theta": 1e6, "rms_norm_eps": 1e-5, "sliding_window": null,
             "hidden_act": "silu", "torch_dtype": "bfloat16", "tie_word_embeddings": false})";
}

std::string SmallMoeConfig(int layers, int experts) {
  return nlohmann::json{{"model_type", "qwen2_moe"},
                        {"hidden_size", 128},
                        {"vocab_size", 256},
                        {"num_hidden_layers", layers},
                        {"num_attention_heads", 4},
                        {"num_key_value_heads", 2},
                        {"intermediate_size", 256},
                        {"moe_intermediate_size", 64},
                        {"shared_expert_intermediate_size", 128},
                        {"num_experts", experts},
                        {"num_experts_per_tok", 2},
                        {"mlp_only_layers", {0}},
                        {"max_position_embeddings", 512}}
      .dump();
}

ModelSpec ParseOrDie(const std::string& config) {
  absl::StatusOr<ModelSpec> spec = ParseModelConfig(config);
  if (!spec.ok()) throw std::runtime_error(spec.status().ToString());
  return *std::move(spec);
}

DistortionTable MakeTable(const ModelSpec& spec, const std::function<int64_t(int, int)>& counts) {
  std::mt19937 random(7);
  DistortionTable table;
  for (const Part& part : CutParts(spec)) {
    PartTable out;
    out.layer = part.layer;
    out.part = part.index;
    for (int bits : {2, 3, 4, 8})
      out.blobs[bits] = DigestOf(absl::StrCat(part.layer, ".", part.index, ".", bits));
    for (const Linear& linear : part.linears) {
      DistortionRow row{linear, 100, 0.01, "gptq", "", 3.0, {}};
      const double scale = 1.0 + static_cast<double>(random() % 1000);
      row.outlier_score = 3.0 + scale / 100;
      row.wanda_score = scale / 7;
      for (int bits : {2, 3, 4, 8}) row.widths[bits] = {scale * std::pow(4.0, -bits), 0.1};
      out.rows.push_back(std::move(row));
    }
    table.parts.push_back(std::move(out));
  }
  for (int l = 0; l < spec.num_layers(); ++l) {
    if (!spec.layers[l].moe) continue;
    RoutingCounts routing{l, {}, {}, 1000, 100.0 + (l * 37) % 11, 900.0 - (l * 53) % 17};
    for (int e = 0; e < spec.moe.experts; ++e) {
      routing.counts.push_back(counts(l, e));
      routing.router_weights.push_back(static_cast<double>((counts(l, e) * 31) % 97));
    }
    table.routing.push_back(std::move(routing));
  }
  return table;
}

DistortionTable DeepSeekMoe16bTable() {
  std::map<int, PartTable> parts;
  const auto add = [&parts](int layer, LinearKind kind, int expert, int64_t out, int64_t in) {
    PartTable& part = parts[layer];
    part.layer = layer;
    const std::string name = absl::StrCat("l", layer, ".", std::string(LinearKindName(kind)), ".", expert);
    DistortionRow row{{name, layer, kind, expert, out, in}, 100, 0.01, "gptq", "", 3.0, {}};
    row.outlier_score =
        3 + static_cast<double>((layer * 7919 + expert * 104729 + static_cast<int>(kind)) % 1009);
    for (int bits : {2, 3, 4, 8}) row.widths[bits] = {std::pow(4.0, -bits), 0.1};
    part.rows.push_back(std::move(row));
  };
  const auto add_mlp = [&add](int layer, LinearKind gate, int expert, int64_t width) {
    const auto kind = [gate](int i) { return static_cast<LinearKind>(static_cast<int>(gate) + i); };
    for (int i = 0; i < 2; ++i) add(layer, kind(i), expert, width, 2048);
    add(layer, kind(2), expert, 2048, width);
  };
  DistortionTable table;
  for (int layer = 0; layer < 28; ++layer) {
    for (int i = 0; i < 4; ++i) add(layer, static_cast<LinearKind>(i), -1, 2048, 2048);
    if (layer == 0) {
      add_mlp(layer, LinearKind::kDenseGate, -1, 10944);
      continue;
    }
    add_mlp(layer, LinearKind::kSharedGate, -1, 2816);
    RoutingCounts routing{layer, {}, {}, 1000, 10.0 + layer % 5, 900};
    for (int expert = 0; expert < 64; ++expert) {
      add_mlp(layer, LinearKind::kExpertGate, expert, 1408);
      routing.counts.push_back((expert * 29 + layer) % 64);
    }
    table.routing.push_back(std::move(routing));
  }
  for (auto& [layer, part] : parts) table.parts.push_back(std::move(part));
  return table;
}

DistortionTable MakeTable(const ModelSpec& spec) {
  return MakeTable(spec, [](int layer, int expert) { return (layer * 7919 + expert * 104729) % 10007; });
}

JobSpec AverageBitsSpec(const std::string& heuristic, double average_bits) {
  JobSpec spec;
  spec.model_uri = "/models/m";
  spec.heuristic = heuristic;
  spec.budget.average_bits = average_bits;
  return spec;
}

}  // namespace quantmoe
