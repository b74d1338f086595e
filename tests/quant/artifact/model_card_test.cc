#include "quant/artifact/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr char kVerdict[] =
    "The plan is worse than uniform 3 bits (9 bytes): perplexity 9.000 against 8.000. Use uniform.";

std::string Card(const json& scores) {
  return ModelCard(BitPlan{}, ModelSpec{}, scores, /*original_bytes=*/1, "1.0");
}

TEST(ModelCardTest, TheVerdictStandsInTheCard) {
  const json scores = {{"verdict", {{"recommends", "uniform"}, {"text", kVerdict}}}};
  EXPECT_THAT(Card(scores), HasSubstr(kVerdict));
  EXPECT_THAT(ExportCard(BitPlan{}, ModelSpec{}, scores, "gptq", 3.0, 1, "1.0"), HasSubstr(kVerdict));
}

TEST(ModelCardTest, WithoutAMeasurementThereIsNoVerdict) {
  EXPECT_THAT(Card(json::object()), Not(HasSubstr("uniform")));
  EXPECT_THAT(Card({{"verdict", nullptr}}), Not(HasSubstr("**")));
}

}  // namespace
}  // namespace quantmoe
