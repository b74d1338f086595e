// Documents like config.json for tests of how they are read.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "tests/plan/synthetic_table.h"
#include "tests/support/goldens.h"

namespace quantmoe {

inline nlohmann::json LlamaJson() {
  return {{"model_type", "llama"},    {"hidden_size", 64},
          {"vocab_size", 320},        {"num_hidden_layers", 3},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"intermediate_size", 160}, {"max_position_embeddings", 4096}};
}
inline nlohmann::json MoeJson() { return nlohmann::json::parse(SmallMoeConfig()); }
inline nlohmann::json GoldenJson(const std::string& family) {
  return nlohmann::json::parse(ReadTestdata("goldens/" + family + "/config.json"));
}
inline nlohmann::json Changed(nlohmann::json config, const nlohmann::json& changes) {
  config.update(changes);
  return config;
}

}  // namespace quantmoe
