// The configuration of an export as compressed-tensors reads it: a target is a module's name, "re:" with a
// regular expression that matches from the start of the name, or the class of the module; what is in `ignore`
// is not quantized.
#include "quant/artifact/compressed_tensors.h"

#include <functional>
#include <regex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/model/model_config.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

bool Matches(const std::string& target, const std::string& module) {
  absl::string_view pattern = target;
  if (!absl::ConsumePrefix(&pattern, "re:")) return target == module;
  return std::regex_search(module, std::regex(std::string(pattern)), std::regex_constants::match_continuous);
}

// Widths of all groups that take the module by name, or by class when none does.
std::vector<int> WidthsOf(const Json& config, const std::string& module) {
  for (const Json& ignored : config.at("ignore")) {
    if (Matches(ignored, module)) return {};
  }
  std::vector<int> named, by_class;
  for (const auto& [name, group] : config.at("config_groups").items()) {
    for (const Json& target : group.at("targets")) {
      if (Matches(target, module)) named.push_back(group.at("weights").at("num_bits"));
      if (target == "Linear") by_class.push_back(group.at("weights").at("num_bits"));
    }
  }
  return named.empty() ? by_class : named;
}

constexpr char kMixtral[] = R"({"model_type": "mixtral", "hidden_size": 64, "vocab_size": 256,
  "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32,
  "num_local_experts": 12, "num_experts_per_tok": 2, "max_position_embeddings": 512})";

class CompressedTensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(kMixtral));
    kept_ = {{"model.embed_tokens.weight", DType::kBF16, {256, 64}},
             {"lm_head.weight", DType::kBF16, {256, 64}},
             {"model.norm.weight", DType::kBF16, {64}},
             {"model.layers.1.block_sparse_moe.gate.weight", DType::kBF16, {12, 64}}};
  }

  BitPlan Plan(const std::string& profile, const std::function<int(const Linear&)>& width) const {
    BitPlan plan;
    plan.profile = profile;
    plan.group_size = 32;
    for (const Linear& linear : ListLinears(spec_)) {
      plan.linears.push_back({linear, width(linear), {}, 0, "gptq", "", true});
    }
    return plan;
  }

  Json ConfigOf(const BitPlan& plan) const {
    return CompressedTensorsConfig(plan, ProfileNamed(plan.profile), spec_, kept_);
  }

  ModelSpec spec_;
  std::vector<TensorInfo> kept_;
};

TEST_F(CompressedTensorsTest, EveryLinearIsInOneGroupAndHasItsWidth) {
  const std::vector<BitPlan> plans = {
      Plan("any", [](const Linear&) { return 4; }),
      Plan("any",
           [n = 0](const Linear&) mutable {
             return std::vector<int>{2, 3, 4, 8}[n++ * 7 % 4];
           }),
      Plan("vllm", [](const Linear& l) { return IsExpert(l.kind) && l.layer % 2 == 0 ? 4 : 8; }),
      Plan("sglang", [](const Linear& l) { return IsExpert(l.kind)   ? 4
                                                  : l.layer % 2 == 0 ? 4
                                                                     : 8; }),
  };
  for (const BitPlan& plan : plans) {
    const Json config = ConfigOf(plan);
    for (const PlannedLinear& planned : plan.linears) {
      const std::string& name = planned.linear.name;
      EXPECT_EQ(WidthsOf(config, name), std::vector<int>{planned.width}) << plan.profile << " " << name;
      if (!IsExpert(planned.linear.kind)) continue;
      // The names of the modules in memory.
      const std::string loaded = absl::StrReplaceAll(name, {{".block_sparse_moe.", ".mlp."},
                                                            {".w1", ".gate_proj"},
                                                            {".w3", ".up_proj"},
                                                            {".w2", ".down_proj"}});
      EXPECT_EQ(WidthsOf(config, loaded), std::vector<int>{planned.width}) << plan.profile << " " << loaded;
    }
  }
}

TEST_F(CompressedTensorsTest, WhatIsKeptIsIgnoredUnderBothNames) {
  const Json config = ConfigOf(Plan("any", [](const Linear&) { return 4; }));
  EXPECT_THAT(config.at("ignore").get<std::vector<std::string>>(),
              ::testing::UnorderedElementsAre("lm_head", "model.layers.1.block_sparse_moe.gate",
                                              "model.layers.1.mlp.gate"));
}

// Readers that look at one group only look at the first.
TEST_F(CompressedTensorsTest, TheGroupOfTheClassComesFirst) {
  const Json config = ConfigOf(Plan("sglang", [](const Linear& l) { return IsExpert(l.kind) ? 8 : 4; }));
  const Json& first = config.at("config_groups").at("group_0");
  EXPECT_EQ(first.at("targets"), Json::array({"Linear"}));
  EXPECT_EQ(first.at("weights").at("num_bits"), 8);
  EXPECT_EQ(first.at("weights").at("group_size"), 32);
  EXPECT_EQ(first.at("weights").at("symmetric"), true);
  EXPECT_EQ(config.at("config_groups").size(), 2u);
}

}  // namespace
}  // namespace quantmoe
