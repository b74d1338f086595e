#include "plan/model/source_quantization.h"

#include <nlohmann/json.hpp>

#include "plan/model/model_config.h"
#include "tests/plan/model/config_samples.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(SourceQuantizationTest, MiniMaxM2IsReadInTheFp8OfItsPublishedFiles) {
  json config = GoldenJson("minimax_m2");
  config["quantization_config"] = {
      {"activation_scheme", "dynamic"},
      {"fmt", "float8_e4m3fn"},
      {"quant_method", "fp8"},
      {"weight_block_size", {128, 128}},
      {"modules_to_not_convert", {"gate", "e_score_correction_bias", "lm_head"}}};
  const StorageSpec storage = ParseOrDie(config.dump()).storage;
  EXPECT_TRUE(storage.fp8);
  EXPECT_EQ(storage.fp8_block_rows, 128);
  EXPECT_EQ(storage.fp8_block_columns, 128);
  config["quantization_config"]["fmt"] = "float8_e5m2";
  EXPECT_THAT(ParseModelConfig(config.dump()), HasReason("MODEL_UNSUPPORTED"));
}

TEST(SourceQuantizationTest, SourceQuantizationIsReadOrRefusedByName) {
  json config = MoeJson();
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {128, 64}}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 128);
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_columns, 64);
  config["quantization_config"] = {{"quant_method", "fp8"}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 128) << "as the class of transformers";
  config["quantization_config"] = {{"quant_method", "fp8"},
                                   {"weight_block_size", nullptr},
                                   {"activation_scheme", "static"},
                                   {"scale_fmt", "ue8m0"}};
  EXPECT_TRUE(ParseOrDie(config.dump()).storage.fp8);
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 0) << "a factor for a whole weight";
  config["quantization_config"] = {{"quant_method", "mxfp4"}};
  EXPECT_EQ(ParseOrDie(config.dump()).storage.fp8_block_rows, 0);
  const std::vector<std::tuple<json, std::string, std::string>> cases = {
      {{{"quant_method", "awq"}}, "MODEL_UNSUPPORTED", "awq"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}}, "MODEL_INVALID", "weight_block_size"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}, {"fmt", "e5m2"}},
       "MODEL_UNSUPPORTED",
       "e5m2"},
      {{{"quant_method", "fp8"}, {"activation_scheme", "martian"}}, "MODEL_UNSUPPORTED", "martian"},
      {{{"quant_method", "fp8"}, {"scale_fmt", "martian"}}, "MODEL_UNSUPPORTED", "martian"},
      {{{"quant_method", "fp8"}, {"expert_dtype", "fp4"}}, "MODEL_UNSUPPORTED", "fp4"},
      {{{"quant_method", nullptr}}, "MODEL_INVALID", "quant_method"},
      {{{"quant_method", 5}}, "MODEL_INVALID", "quant_method"},
      {json::object(), "MODEL_INVALID", "quant_method"},
      {json("fp8"), "MODEL_INVALID", "quantization_config"}};
  for (const auto& [quantization, reason, says] : cases) {
    config["quantization_config"] = quantization;
    const absl::StatusOr<ModelSpec> spec = ParseModelConfig(config.dump());
    EXPECT_THAT(spec, HasReason(reason)) << quantization;
    EXPECT_THAT(spec, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(says)));
  }
}

}  // namespace
}  // namespace quantmoe
