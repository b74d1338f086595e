#include "tests/plan/synthetic_table.h"

#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"

#include "nlohmann/json.hpp"

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
      for (int bits : {2, 3, 4, 8}) row.widths[bits] = {scale * std::pow(4.0, -bits), 0.1};
      out.rows.push_back(std::move(row));
    }
    table.parts.push_back(std::move(out));
  }
  for (int l = 0; l < spec.num_layers(); ++l) {
    if (!spec.layers[l].moe) continue;
    RoutingCounts routing{l, {}};
    for (int e = 0; e < spec.moe.experts; ++e) routing.counts.push_back(counts(l, e));
    table.routing.push_back(std::move(routing));
  }
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

std::string ReadTestFile(const std::string& path) {
  std::ifstream file(std::string(QUANTMOE_TESTDATA) + "/" + path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace quantmoe
