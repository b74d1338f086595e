#include "plan/model/rope_config.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "plan/model/model_config.h"
#include "tests/plan/model/config_samples.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// The multipliers of the published DeepSeek-V2 and V3: YaRN with factor 40, mscale_all_dim 0.707 and 1.
TEST(RopeConfigTest, LatentAttentionWithYarnScalesItsLogits) {
  json config = GoldenJson("deepseek_v2_yarn");
  ModelSpec spec = ParseOrDie(config.dump());
  EXPECT_NEAR(spec.attention.scale * std::sqrt(32.0), 1.5896, 1e-4);
  EXPECT_EQ(spec.rope.attention_factor, 1.0);
  config["rope_scaling"]["mscale"] = config["rope_scaling"]["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(ParseOrDie(config.dump()).attention.scale * std::sqrt(32.0), 1.8739, 1e-4);
}

TEST(RopeConfigTest, RopeInBothStylesIsTheSame) {
  json old_style = LlamaJson();
  old_style["rope_theta"] = 5e5;
  old_style["rope_scaling"] = {{"rope_type", "llama3"},
                               {"factor", 8},
                               {"low_freq_factor", 1},
                               {"high_freq_factor", 4},
                               {"original_max_position_embeddings", 8192}};
  json new_style = LlamaJson();
  new_style["rope_parameters"] = old_style["rope_scaling"];
  new_style["rope_parameters"]["rope_theta"] = 5e5;
  for (const json& config : {old_style, new_style}) {
    const RopeSpec rope = ParseOrDie(config.dump()).rope;
    EXPECT_EQ(rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(rope.theta, 5e5);
    EXPECT_EQ(rope.factor, 8);
    EXPECT_EQ(rope.original_max_position, 8192);
    EXPECT_EQ(rope.attention_factor, 1);
  }
}

TEST(RopeConfigTest, YarnScalesCosineAndSine) {
  json config = LlamaJson();
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 32}, {"original_max_position_embeddings", 4096}};
  RopeSpec rope = ParseOrDie(config.dump()).rope;
  EXPECT_EQ(rope.scaling, RopeScaling::kYarn);
  EXPECT_NEAR(rope.attention_factor, 1.3466, 1e-4);
  EXPECT_TRUE(rope.truncate);
  config["rope_scaling"]["mscale"] = 0.707;
  config["rope_scaling"]["mscale_all_dim"] = 0.707;
  EXPECT_DOUBLE_EQ(ParseOrDie(config.dump()).rope.attention_factor, 1.0);
  config["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_DOUBLE_EQ(ParseOrDie(config.dump()).rope.attention_factor, 1.25);
}

TEST(RopeConfigTest, BadRopeScalingIsNamed) {
  const std::vector<std::tuple<json, std::string, std::string>> cases = {
      {{{"rope_type", "dynamic"}, {"factor", 2}}, "MODEL_UNSUPPORTED", "rope_scaling.rope_type"},
      {{{"type", "longrope"}}, "MODEL_INVALID", "original_max_position_embeddings"},
      {{{"type", "longrope"}, {"original_max_position_embeddings", 64}, {"short_factor", {1.0, 2.0}}},
       "MODEL_INVALID",
       "rope_scaling.short_factor"},
      {{{"type", "longrope"}, {"original_max_position_embeddings", 64}, {"short_factor", {1.0, -2.0}}},
       "MODEL_INVALID",
       "rope_scaling.short_factor"},
      {{{"rope_type", "linear"}}, "MODEL_INVALID", "rope_scaling.factor"},
      {{{"factor", 2}}, "MODEL_INVALID", "rope_scaling.rope_type"},
      {{{"rope_type", "linear"}, {"factor", 0.5}}, "MODEL_INVALID", "rope_scaling.factor"},
      {{{"rope_type", "linear"}, {"factor", 2}, {"fancy", 1}}, "MODEL_UNSUPPORTED", "rope_scaling.fancy"},
      {{{"rope_type", "llama3"}, {"factor", 2}, {"low_freq_factor", 1}, {"high_freq_factor", 4}},
       "MODEL_INVALID",
       "rope_scaling.original_max_position_embeddings"},
      {{{"rope_type", "linear"}, {"factor", 2}, {"mscale_all_dim", 1}},
       "MODEL_UNSUPPORTED",
       "rope_scaling.mscale_all_dim"},
      {{{"rope_type", "yarn"}, {"factor", 2}, {"mscale_all_dim", 1}},
       "MODEL_UNSUPPORTED",
       "rope_scaling.mscale"},
      {json::array({1}), "MODEL_INVALID", "rope_scaling"},
  };
  for (const auto& [scaling, reason, field] : cases) {
    json config = LlamaJson();
    config["rope_scaling"] = scaling;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(reason)) << scaling;
    EXPECT_EQ(GetErrorInfo(spec.status()).metadata["field"], field);
  }
}

TEST(RopeConfigTest, ContradictingThetasAreRefused) {
  json config = LlamaJson();
  config["rope_theta"] = 1e4;
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_INVALID"));
}

}  // namespace
}  // namespace quantmoe
