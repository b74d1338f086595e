#include "quant/tasks/expert_rows.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int64_t kWidth = 16;

// One shard of four tokens, two experts a token: expert 0 sees all, 1 and 2 two each, 3 none.
std::vector<Dispatch> OneShard() {
  const at::Tensor experts = at::tensor({0, 1, 0, 1, 0, 2, 0, 2}, at::kLong).view({4, 2});
  const at::Tensor weights = at::tensor({0.5f, 0.25f, 0.5f, 0.75f, 0.5f, 1.0f, 0.5f, 1.0f}).view({4, 2});
  return {Dispatch(Routing{experts, weights}, 4)};
}

std::vector<int64_t> Values(const at::Tensor& indices) {
  return {indices.const_data_ptr<int64_t>(), indices.const_data_ptr<int64_t>() + indices.numel()};
}

TEST(ExpertRowsTest, ByDefaultTheOwnTokensCountAlike) {
  const std::vector<Dispatch> shards = OneShard();
  const ExpertRows rows(shards, 2, kWidth, {});
  EXPECT_THAT(Values(rows.Tokens(0, 4)), ::testing::ElementsAre(2, 3));
  EXPECT_FALSE(rows.Scales(0).defined());
  EXPECT_EQ(rows.Sample(4).numel(), 0);
  EXPECT_EQ(rows.routed(), 2);
}

TEST(ExpertRowsTest, GateWeightsScaleRowsAndTheirSupport) {
  const std::vector<Dispatch> shards = OneShard();
  const ExpertRows rows(shards, 1, kWidth, {.gate_weighted = true, .shrinkage = 0.5, .all_tokens = {}});
  EXPECT_TRUE(rows.Scales(0).flatten().equal(at::tensor({0.25f, 0.75f})));
  EXPECT_EQ(rows.Sample(4).numel(), 4);
  const double mean_square = (0.25 * 0.25 + 0.75 * 0.75) / 2;
  EXPECT_NEAR(rows.SupportWeight(4), mean_square * 0.5 * kWidth / 4, 1e-6);
}

TEST(ExpertRowsTest, ChosenExpertsAreCalibratedByAllTokens) {
  const std::vector<Dispatch> shards = OneShard();
  const ExpertRows rows(shards, 3, kWidth, {.gate_weighted = true, .shrinkage = 1.0, .all_tokens = {3}});
  EXPECT_THAT(Values(rows.Tokens(0, 4)), ::testing::ElementsAre(0, 1, 2, 3));
  EXPECT_FALSE(rows.Scales(0).defined());
  EXPECT_EQ(rows.Sample(4).numel(), 0) << "nothing is left to support";
  EXPECT_EQ(rows.routed(), 0);
}

TEST(ExpertRowsTest, WeightsOfInputsScaleWhatTheExpertSees) {
  const std::vector<Dispatch> shards = OneShard();
  const ExpertRows rows(shards, 1, kWidth, {.gate_weighted = true, .shrinkage = 0.5, .all_tokens = {}},
                        /*scaled_inputs=*/true);
  EXPECT_TRUE(rows.InputScales(0, 4).flatten().equal(at::tensor({0.25f, 0.75f})));
  EXPECT_FALSE(rows.Scales(0).defined()) << "they count once";
  const double mean_square = (0.25 * 0.25 + 0.75 * 0.75) / 2;
  EXPECT_NEAR(rows.SampleScale().item<float>(), std::sqrt(mean_square), 1e-6);
  EXPECT_NEAR(rows.SupportWeight(4), 0.5 * kWidth / 4, 1e-6);
  const ExpertRows all(shards, 1, kWidth, {.all_tokens = {1}}, /*scaled_inputs=*/true);
  EXPECT_EQ(all.InputScales(0, 4).numel(), 4);
  EXPECT_NEAR(all.InputScales(0, 4)[0].item<float>(), std::sqrt(mean_square), 1e-6);
  const ExpertRows plain(shards, 1, kWidth, {});
  EXPECT_FALSE(plain.InputScales(0, 4).defined());
  EXPECT_FALSE(plain.SampleScale().defined());
}

}  // namespace
}  // namespace quantmoe
