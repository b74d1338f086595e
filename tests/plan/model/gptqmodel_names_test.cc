// Names of exports against the module trees of GPTQModel (gptqmodel/models/definitions at f4c327a1, August
// 2026).

#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/model/family.h"
#include "plan/model/linears.h"
#include "plan/model/model_config.h"
#include "tests/support/goldens.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

struct Tree {
  absl::string_view layers;
  absl::string_view blocks;  // what may be quantized in a layer, block:leaf,leaf
};

constexpr absl::string_view kText = "model.layers.";
#define ATTENTION "self_attn:q_proj,k_proj,v_proj,o_proj"
#define LATENT "self_attn:q_proj,q_a_proj,kv_a_proj_with_mqa,q_b_proj,kv_b_proj,o_proj"
#define MLP ":gate_proj,up_proj,down_proj "

// Of the types that GPTQModel defines. It finds the tree of granitemoe, exaone_moe, qwen3_vl_moe and deepseek
// by itself in the loaded model, so there is nothing to compare.
const std::map<std::string, Tree>& Trees() {
  static const std::map<std::string, Tree> trees = {
      {"deepseek_v2", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP LATENT}},
      {"deepseek_v3", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP LATENT}},
      {"dots1", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP ATTENTION}},
      {"glm4_moe", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP ATTENTION}},
      {"glm4_moe_lite", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP LATENT}},
      {"glm4v_moe",
       {"model.language_model.layers.", "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP ATTENTION}},
      {"gpt_oss", {kText, "mlp.experts.#" MLP ATTENTION}},
      {"hunyuan_v1_moe", {kText, "mlp.experts.#" MLP "mlp.shared_mlp" MLP ATTENTION}},
      {"hy_v3", {kText, "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP ATTENTION}},
      {"kimi_k25",
       {"language_model.model.layers.", "mlp" MLP "mlp.experts.#" MLP "mlp.shared_experts" MLP LATENT}},
      {"llama4",
       {"language_model.model.layers.",
        "feed_forward.experts.#" MLP "feed_forward.shared_expert" MLP ATTENTION}},
      {"minimax_m2", {kText, "block_sparse_moe.experts.#:w1,w3,w2 " ATTENTION}},
      {"mixtral", {kText, "mlp.experts.#" MLP ATTENTION}},
      {"phimoe", {kText, "mlp.experts.#" MLP ATTENTION}},
      {"qwen2_moe", {kText, "mlp.experts.#" MLP "mlp.shared_expert" MLP ATTENTION}},
      {"qwen3_moe", {kText, "mlp.experts.#" MLP ATTENTION}},
      {"solar_open", {kText, "mlp.experts.#" MLP "mlp.shared_experts" MLP ATTENTION}},
      // Its definition asks for a `upe_proj` of experts.
      {"ernie4_5_moe",
       {kText, "mlp" MLP "mlp.experts.#:gate_proj,upe_proj,down_proj mlp.shared_experts" MLP ATTENTION}},
  };
  return trees;
}

// Linears that the definitions leave out, with what GPTQModel then does: it keeps the module unquantized.
const std::map<std::string, std::set<std::string>>& LeftOut() {
  static const std::map<std::string, std::set<std::string>> names = {
      {"ernie4_5_moe", {"mlp.experts.#.up_proj"}},
      {"llama4", {"feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj"}},
      {"qwen2_moe", {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}},
  };
  return names;
}

std::set<std::string> Leaves(const Tree& tree) {
  std::set<std::string> names;
  for (absl::string_view block : absl::StrSplit(tree.blocks, ' ', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(block, ':');
    for (absl::string_view leaf : absl::StrSplit(parts.second, ','))
      names.insert(absl::StrCat(parts.first, ".", leaf));
  }
  return names;
}

// Without the layer, and # for the number of an expert; the whole name where it lies elsewhere.
std::string WithinLayer(const Tree& tree, absl::string_view name) {
  if (!absl::ConsumePrefix(&name, tree.layers)) return std::string(name);
  std::vector<std::string> parts = absl::StrSplit(name, '.');
  parts.erase(parts.begin());
  for (std::string& part : parts) {
    if (absl::ascii_isdigit(part[0])) part = "#";
  }
  return absl::StrJoin(parts, ".");
}

ModelSpec SpecOf(const std::string& golden) {
  auto spec = ParseModelConfig(ReadTestdata("goldens/" + golden + "/config.json"));
  EXPECT_OK(spec.status());
  return *std::move(spec);
}

TEST(GptqModelNamesTest, EveryLinearIsWhereGptqModelLooksForIt) {
  std::set<std::string> seen;
  for (const std::string& golden : GoldenNames()) {
    const ModelSpec spec = SpecOf(golden);
    const auto tree = Trees().find(spec.model_type);
    if (tree == Trees().end()) continue;
    seen.insert(spec.model_type);
    const auto left_out = LeftOut().find(spec.model_type);
    const std::set<std::string> leaves = Leaves(tree->second);
    std::set<std::string> missing;
    for (const Linear& linear : ListLinears(spec)) {
      const std::string name = WithinLayer(tree->second, GptqModelName(FamilyOf(spec), linear.name));
      if (!leaves.contains(name)) missing.insert(name);
    }
    EXPECT_EQ(missing, left_out == LeftOut().end() ? std::set<std::string>() : left_out->second) << golden;
  }
  EXPECT_EQ(seen.size(), Trees().size()) << "a tree without a golden";
}

TEST(GptqModelNamesTest, OtherTensorsHaveTheNamesOfTheLoadedModules) {
  EXPECT_EQ(GptqModelName(*FindFamily("mixtral"), "model.layers.1.block_sparse_moe.gate.weight"),
            "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(GptqModelName(*FindFamily("phimoe"), "model.layers.1.block_sparse_moe.gate.weight"),
            "model.layers.1.mlp.router.weight");
  EXPECT_EQ(GptqModelName(*FindFamily("hy_v3"), "model.layers.1.mlp.router.gate.weight"),
            "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(GptqModelName(*FindFamily("hy_v3"), "model.layers.1.mlp.expert_bias"),
            "model.layers.1.mlp.e_score_correction_bias");
  // The model's own code, which its definition is written for, has the published names.
  EXPECT_EQ(
      GptqModelName(*FindFamily("minimax_m2"), "model.layers.1.block_sparse_moe.e_score_correction_bias"),
      "model.layers.1.block_sparse_moe.e_score_correction_bias");
  EXPECT_EQ(GptqModelName(*FindFamily("granitemoe"), "model.layers.1.block_sparse_moe.router.layer.weight"),
            "model.layers.1.block_sparse_moe.router.layer.weight");
}

}  // namespace
}  // namespace quantmoe
