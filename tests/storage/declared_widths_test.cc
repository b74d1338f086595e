#include "storage/declared_widths.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

TEST(DeclaredWidthsTest, TheFirstRuleThatMatchesCounts) {
  const Json config = {{"bits", 4},
                       {"group_size", 64},
                       {"sym", true},
                       {"desc_act", false},
                       {"dynamic",
                        {{"+:^a\\.1$", {{"bits", 2}}},
                         {"+:^a(\\..*)?$", {{"bits", 3}, {"group_size", 32}}},
                         {"-:^b\\.", Json::object()},
                         {"+:^b\\.1$", {{"bits", 8}}}}}};
  const auto widths = DeclaredWidths::FromGptq(config);
  ASSERT_THAT(widths, IsOk());
  EXPECT_THAT(widths->Of("a.1"), IsOkAndHolds(DeclaredWidth{2, 64}));
  EXPECT_THAT(widths->Of("a.12"), IsOkAndHolds(DeclaredWidth{3, 32}));
  EXPECT_THAT(widths->Of("a"), IsOkAndHolds(DeclaredWidth{3, 32}));
  EXPECT_THAT(widths->Of("b.1"), IsOkAndHolds(DeclaredWidth{0, 0}));
  EXPECT_THAT(widths->Of("xa.1"), IsOkAndHolds(DeclaredWidth{4, 64}));
  EXPECT_THAT(DeclaredWidths::FromGptq({{"bits", 4}}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(DeclaredWidthsTest, APatternThatExplodesIsNamed) {
  Json config = {{"bits", 4}, {"group_size", 64}, {"sym", true}, {"desc_act", false}};
  config["dynamic"] = {{"+:(.|..|...)*[!#]", {{"bits", 2}}}};
  const auto widths = DeclaredWidths::FromGptq(config);
  ASSERT_THAT(widths, IsOk());
  EXPECT_THAT(widths->Of("model.layers.10.mlp.experts.100.gate_proj"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'(.|..|...)*[!#]' takes too many steps")));
}

TEST(DeclaredWidthsTest, APatternOfDeepBracketsIsRefused) {
  Json config = {{"bits", 4}, {"group_size", 64}, {"sym", true}, {"desc_act", false}};
  config["dynamic"] = {{"+:" + std::string(100'000, '(') + std::string(100'000, ')'), {{"bits", 2}}}};
  EXPECT_THAT(DeclaredWidths::FromGptq(config), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace quantmoe
