// quantize_config.json as GPTQModel, vLLM and SGLang read it: `dynamic` rules are tried in order, the first
// regular expression that matches from the start of a module's name decides.
#include "quant/artifact/gptq_config.h"

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

struct Read {
  int bits = 0;
  bool symmetric = true;
  bool quantized = true;

  friend bool operator==(const Read&, const Read&) = default;
};

// GPTQModel's dynamic_get (gptqmodel/quantization/config.py): a rule is "+:pattern", "-:pattern" or the
// pattern alone.
Read ReadAs(const Json& config, const std::string& module) {
  Read read{config.at("bits"), config.at("sym"), true};
  const Json rules = config.value("dynamic", Json::object());
  for (const auto& [key, overrides] : rules.items()) {
    absl::string_view pattern = key;
    const bool exempts = absl::ConsumePrefix(&pattern, "-:");
    absl::ConsumePrefix(&pattern, "+:");
    if (!std::regex_search(module, std::regex(std::string(pattern)),
                           std::regex_constants::match_continuous)) {
      continue;
    }
    if (exempts) return {0, true, false};
    return {overrides.value("bits", read.bits), overrides.value("sym", read.symmetric), true};
  }
  return read;
}

constexpr char kConfig[] = R"({"model_type": "qwen2_moe", "hidden_size": 128, "vocab_size": 256,
  "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 256,
  "moe_intermediate_size": 64, "shared_expert_intermediate_size": 128, "num_experts": 12,
  "num_experts_per_tok": 2, "mlp_only_layers": [0], "max_position_embeddings": 512})";

class GptqConfigTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(spec_, ParseModelConfig(kConfig)); }

  BitPlan Plan(const std::function<int(const Linear&)>& width) const {
    BitPlan plan;
    plan.heuristic = "optimal";
    plan.group_size = 32;
    plan.average_bits = 3.25;
    for (const Linear& linear : ListLinears(spec_)) {
      plan.linears.push_back({linear, width(linear), {}, 0, "gptq", "", true});
    }
    return plan;
  }
  Json Config(const BitPlan& plan, const std::vector<TensorInfo>& kept = {}) const {
    return GptqConfig(plan, spec_, kept, {{"damp", 0.02}}, "1.2.3");
  }

  ModelSpec spec_;
};

TEST_F(GptqConfigTest, OneWidthNeedsNoRules) {
  const Json config = Config(Plan([](const Linear&) { return 3; }));
  EXPECT_EQ(config.at("bits"), 3);
  EXPECT_FALSE(config.contains("dynamic"));
  EXPECT_EQ(config.at("group_size"), 32);
  EXPECT_EQ(config.at("quant_method"), "gptq");
  EXPECT_EQ(config.at("checkpoint_format"), "gptq");
  EXPECT_EQ(config.at("desc_act"), false);
  EXPECT_EQ(config.at("lm_head"), false);
}

// Names such as experts.1 and experts.11, layers 1 and 11: a rule that is not anchored would take both.
TEST_F(GptqConfigTest, EveryLinearIsReadAtItsWidth) {
  std::vector<BitPlan> plans;
  plans.push_back(Plan([n = 0](const Linear&) mutable { return std::vector<int>{2, 3, 4, 8}[n++ * 7 % 4]; }));
  plans.push_back(
      Plan([](const Linear& linear) { return IsExpert(linear.kind) ? 2 + linear.expert % 3 : 8; }));
  plans.push_back(Plan([](const Linear& linear) { return IsExpert(linear.kind) ? 2 + linear.layer : 4; }));
  plans.push_back(plans[0]);
  for (size_t i = 0; i < plans[3].linears.size(); i += 5) plans[3].linears[i].symmetric = false;
  for (const BitPlan& plan : plans) {
    const Json config = Config(plan);
    for (const PlannedLinear& planned : plan.linears) {
      EXPECT_EQ(ReadAs(config, planned.linear.name), (Read{planned.width, planned.symmetric, true}))
          << planned.linear.name << " in " << config.dump();
    }
  }
}

// Loaders that join linears ask for the name of the joint one.
TEST_F(GptqConfigTest, JointLinearsAreReadAtTheWidthOfTheirParts) {
  const BitPlan plan = Plan([](const Linear& linear) {
    if (IsExpert(linear.kind)) return linear.layer == 1 ? 2 : 4;
    if (IsAttention(linear.kind)) return linear.kind == LinearKind::kOutput ? 3 : 8;
    return linear.kind == LinearKind::kSharedDown || linear.kind == LinearKind::kDenseDown ? 4 : 2;
  });
  const Json config = Config(plan);
  const std::string layer = "model.layers.1.";
  EXPECT_EQ(ReadAs(config, layer + "self_attn.qkv_proj").bits, 8);
  EXPECT_EQ(ReadAs(config, layer + "self_attn.o_proj").bits, 3);
  EXPECT_EQ(ReadAs(config, layer + "mlp.experts").bits, 2);
  EXPECT_EQ(ReadAs(config, layer + "mlp.experts.11.gate_up_proj").bits, 2);
  EXPECT_EQ(ReadAs(config, "model.layers.2.mlp.experts").bits, 4);
  EXPECT_EQ(ReadAs(config, layer + "mlp.shared_expert.gate_up_proj").bits, 2);
  EXPECT_EQ(ReadAs(config, "model.layers.0.mlp.gate_up_proj").bits, 2);
  EXPECT_EQ(ReadAs(config, "model.layers.0.mlp.down_proj").bits, 4);
}

// Fused kernels run at 4 and 8 bits only, so the base width is one of them where experts have it.
TEST_F(GptqConfigTest, TheBaseWidthIsOneThatFusedExpertsRunAt) {
  EXPECT_EQ(
      Config(Plan([](const Linear& l) { return IsExpert(l.kind) && l.expert == 0 ? 8 : 2; })).at("bits"), 8);
  EXPECT_EQ(Config(Plan([](const Linear& l) {
              return IsExpert(l.kind) ? (l.expert % 3 == 0 ? 3 : 2) : 8;
            })).at("bits"),
            2)
      << "without such an expert it is the width of most weights";
}

TEST_F(GptqConfigTest, LayersPastTheLastOneAreExempt) {
  const BitPlan plan = Plan([n = 0](const Linear&) mutable { return n++ % 2 == 0 ? 4 : 2; });
  const TensorInfo head{"model.layers.3.shared_head.head.weight", DType::kBF16, {256, 128}};
  const TensorInfo norm{"model.layers.2.input_layernorm.weight", DType::kBF16, {128}};
  const Json config = Config(plan, {head, norm});
  EXPECT_FALSE(ReadAs(config, "model.layers.3.mlp.experts.0.up_proj").quantized) << config.dump();
  for (const PlannedLinear& planned : plan.linears) {
    EXPECT_EQ(ReadAs(config, planned.linear.name).bits, planned.width) << planned.linear.name;
  }
}

TEST_F(GptqConfigTest, TheOptionsStandInMeta) {
  const BitPlan plan = Plan([](const Linear&) { return 4; });
  const auto meta = [&](const nlohmann::json& gptq) {
    return Json(GptqConfig(plan, spec_, {}, gptq, "1.2.3").at("meta"));
  };
  const Json plain = meta({{"damp", 0.02}, {"order", "activation"}});
  EXPECT_EQ(plain.at("quantizer"), Json::array({"quantmoe:1.2.3"}));
  EXPECT_EQ(plain.at("damp_percent"), 0.02);
  EXPECT_EQ(plain.at("static_groups"), true);
  EXPECT_EQ(plain.at("true_sequential"), false);
  EXPECT_EQ(plain.at("heuristic"), "optimal");
  EXPECT_EQ(plain.at("average_bits"), 3.25);
  const Json other = meta({{"damp", "much"}, {"order", "group"}, {"propagation", "quantized"}});
  EXPECT_EQ(other.at("damp_percent"), 0.01) << "a manifest may have been edited";
  EXPECT_EQ(other.at("static_groups"), false);
  EXPECT_EQ(other.at("true_sequential"), true);
}

TEST_F(GptqConfigTest, TheSourcesConfigIsKept) {
  const std::string text = QuantizedModelConfig(
      R"({"z": 1, "a": [Infinity, -Infinity, NaN], "quantization_config": {"old": 1}})", {{"bits", 4}});
  EXPECT_THAT(text, ::testing::HasSubstr("Infinity"));
  EXPECT_THAT(text, ::testing::HasSubstr("NaN"));
  EXPECT_LT(text.find("\"z\""), text.find("\"a\"")) << "keys keep their order";
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("old")));
  EXPECT_EQ(text.back(), '\n');
}

}  // namespace
}  // namespace quantmoe
