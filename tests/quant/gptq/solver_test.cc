#include "quant/gptq/solver.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "quant/gptq/packing.h"
#include "tests/quant/gptq/reference_gptq.h"
#include "tests/quant/gptq/synthetic_layer.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

class SolverTest : public ::testing::TestWithParam<ColumnOrder> {};

TEST_P(SolverTest, EqualsThePaperColumnByColumn) {
  const Layer layer = MakeLayer(/*out=*/48, /*in=*/192, /*tokens=*/400, /*seed=*/1);
  SolveOptions options{.group_size = 32, .order = GetParam()};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 400, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  for (const int bits : options.widths) {
    const QuantizedLinear& q = solved.at(bits);
    const at::Tensor ours = Dequantize(q.codes, q.scales, bits, options.group_size);
    const at::Tensor paper = ReferenceGptq(layer.weight, layer.hessian, q.scales, bits, options.group_size,
                                           options.damp, factor.order);
    // A value near the middle of two codes may fall to the other side in f32; the error must not notice.
    const double same =
        at::isclose(ours.to(at::kDouble), paper, 1e-5, 1e-9).to(at::kDouble).mean().item<double>();
    EXPECT_GT(same, bits == 8 ? 0.97 : 0.995) << bits << " bits";
    EXPECT_NEAR(OutputError(layer, ours) / OutputError(layer, paper.to(at::kFloat)), 1.0, 0.01)
        << bits << " bits";
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, SolverTest,
                         ::testing::Values(ColumnOrder::kNatural, ColumnOrder::kActivation,
                                           ColumnOrder::kGroup));

TEST(SolverDistortionTest, IsTheErrorOfTheLayerOutput) {
  const Layer layer = MakeLayer(100, 256, 700, 2);
  const SolveOptions options{.group_size = 64};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 700, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  for (const auto& [bits, q] : solved) {
    const double measured = OutputError(layer, Dequantize(q.codes, q.scales, bits, 64));
    EXPECT_NEAR(q.distortion / measured, 1.0, 2e-3) << bits << " bits";
  }
}

TEST(SolverOrderTest, GptqBeatsRoundingAndMoreBitsAreBetter) {
  const Layer layer = MakeLayer(64, 256, 1000, 3);
  const SolveOptions options;
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 1000, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  double previous = HUGE_VAL;
  for (const auto& [bits, q] : solved) {
    const QuantizedLinear rounded = RoundToNearest(layer.weight, {bits, 128, ScaleRule::kPositive});
    const double rounding = OutputError(layer, Dequantize(rounded.codes, rounded.scales, bits, 128));
    EXPECT_LT(q.distortion, 0.7 * rounding) << bits << " bits";
    EXPECT_LT(q.distortion, previous);
    previous = q.distortion;
  }
}

// Scales that are fitted when a group is reached see what earlier columns left to it.
TEST(SolverOrderTest, GroupAwareOrderKeepsGroupsTogetherAndBeatsTheNaturalOne) {
  const Layer layer = MakeLayer(64, 256, 1000, 18);
  const auto solve = [&](ColumnOrder order) {
    SolveOptions options{.widths = {3}, .group_size = 32};
    options.order = order;
    const SolveFactor factor = Factor(layer.hessian, 1000, options).value();
    if (order == ColumnOrder::kGroup) {
      const int64_t* channels = factor.order.const_data_ptr<int64_t>();
      for (int64_t i = 1; i < factor.order.size(0); ++i) {
        if (i % 32 == 0) continue;
        EXPECT_EQ(channels[i] / 32, channels[i - 1] / 32) << "column " << i;
      }
      const at::Tensor diagonal = layer.hessian.diagonal();
      EXPECT_EQ(channels[0], diagonal.argmax().item<int64_t>());
    }
    return Solve(layer.weight, factor, options).value().at(3).distortion;
  };
  EXPECT_LT(solve(ColumnOrder::kGroup), solve(ColumnOrder::kNatural));
}

TEST(SolverOrderTest, GroupAwareOrderNeedsGroupsThatFillASweep) {
  const Layer layer = MakeLayer(32, 96, 400, 19);
  SolveOptions options{.group_size = 48};
  options.order = ColumnOrder::kGroup;
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 400, options));
  EXPECT_THAT(Solve(layer.weight, factor, options).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("group-aware order")));
}

TEST(SolverRankTest, CountsTheChannelsThatTokensDetermine) {
  const auto rank = [](int64_t tokens) {
    SolveOptions options{.min_tokens_ratio = 0.0};
    return Factor(MakeLayer(8, 128, tokens, 20).hessian, tokens, options).value().effective_rank;
  };
  EXPECT_NEAR(rank(20), 20, 2);
  EXPECT_GT(rank(2000), 64.0);
  EXPECT_LE(rank(2000), 128.0);
}

TEST(SolverWidthsTest, OneWidthAloneGivesTheSameCodesAsAllTogether) {
  const Layer layer = MakeLayer(70, 128, 300, 4);
  SolveOptions all, one;
  one.widths = {3};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 300, all));
  ASSERT_OK_AND_ASSIGN(const auto together, Solve(layer.weight, factor, all));
  ASSERT_OK_AND_ASSIGN(const auto alone, Solve(layer.weight, factor, one));
  EXPECT_TRUE(together.at(3).codes.equal(alone.at(3).codes));
}

TEST(SolverFallbackTest, NoTokensKeepTheRoundedWeights) {
  const Layer layer = MakeLayer(32, 64, 10, 5);
  SolveOptions options{.group_size = 32};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(at::zeros({64, 64}), 0, options));
  EXPECT_EQ(factor.fallback, "no_tokens");
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  const at::Tensor q = Dequantize(solved.at(8).codes, solved.at(8).scales, 8, 32);
  EXPECT_LT((q - layer.weight).abs().max().item<double>(), 0.002);
  EXPECT_GT(q.abs().max().item<double>(), 0.05);
}

TEST(SolverFallbackTest, FewTokensAreReported) {
  const Layer layer = MakeLayer(32, 64, 10, 6);
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 10, SolveOptions{.group_size = 32}));
  EXPECT_EQ(factor.fallback, "few_tokens");
}

TEST(SolverFallbackTest, RankDeficientHessiansAreSolvedByDamping) {
  const Layer layer = MakeLayer(32, 128, 40, 7);
  SolveOptions options{.min_tokens_ratio = 0.0};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 40, options));
  EXPECT_EQ(factor.fallback, "");
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  for (const auto& [bits, q] : solved) EXPECT_TRUE(std::isfinite(q.distortion));
}

TEST(SolverFallbackTest, TheDampingLadderRecoversAnIndefiniteHessian) {
  Layer layer = MakeLayer(32, 128, 400, 8);
  const double mean = layer.hessian.diagonal().mean().item<double>();
  layer.hessian.index_put_({at::tensor({0}), at::tensor({1})},
                           layer.hessian[0][0].item<float>() + 0.05 * mean);
  layer.hessian.index_put_({at::tensor({1}), at::tensor({0})}, layer.hessian[0][1].item<float>());
  layer.hessian.index_put_({at::tensor({1}), at::tensor({1})}, layer.hessian[0][0].item<float>());
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 400, SolveOptions{}));
  EXPECT_EQ(factor.fallback, "");
  EXPECT_GT(factor.damp, 0.01);
}

// One channel with inputs of vast scale: what f32 loses in its row is more than the whole mean of the others,
// so damping by the mean is not enough, but a floor relative to the largest is.
TEST(SolverFallbackTest, AFloorUnderTheDiagonalRecoversWhatDampingCannot) {
  const Layer layer = MakeLayer(32, 64, 200, 17);
  at::Tensor hessian = at::eye(64);
  hessian[0][0] = 1000.0f;
  hessian[0][1] = 170.0f;
  hessian[1][0] = 170.0f;
  SolveOptions options{.group_size = 32, .damp = 0.001};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(hessian, 200, options));
  EXPECT_EQ(factor.fallback, "");
  EXPECT_GT(factor.floor, 0.0);
  EXPECT_EQ(factor.Method(), "gptq_floored");
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  EXPECT_TRUE(std::isfinite(solved.at(4).distortion));
}

TEST(SolverFallbackTest, AHopelessHessianFallsBackToRounding) {
  const Layer layer = MakeLayer(32, 64, 200, 9);
  at::Tensor hessian = at::full({64, 64}, 100.0f);
  hessian.diagonal().fill_(1.0f);
  SolveOptions options{.group_size = 32};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(hessian, 200, options));
  EXPECT_EQ(factor.fallback, "not_positive_definite");
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  EXPECT_GT(Dequantize(solved.at(4).codes, solved.at(4).scales, 4, 32).abs().max().item<double>(), 0.05);
}

TEST(SolverDeadColumnTest, AChannelThatWasNeverActiveIsRoundedNotZeroed) {
  Layer layer = MakeLayer(32, 128, 400, 10);
  layer.hessian.select(0, 5).zero_();
  layer.hessian.select(1, 5).zero_();
  SolveOptions options;
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 400, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  const at::Tensor q = Dequantize(solved.at(8).codes, solved.at(8).scales, 8, 128);
  EXPECT_LT((q.select(1, 5) - layer.weight.select(1, 5)).abs().max().item<double>(), 0.003);
}

TEST(SolverInputTest, RefusesWhatDoesNotFit) {
  const Layer layer = MakeLayer(32, 128, 400, 11);
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 400, SolveOptions{}));
  using ::testing::HasSubstr;
  EXPECT_THAT(Solve(at::zeros({32, 64}), factor, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("do not fit")));
  EXPECT_THAT(Solve(layer.weight, factor, {.group_size = 96}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("96")));
  at::Tensor broken = layer.weight.clone();
  broken[3][4] = NAN;
  EXPECT_THAT(Solve(broken, factor, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NaN")));
  EXPECT_THAT(Solve(at::zeros({0, 128}), factor, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("empty")));
  EXPECT_THAT(Solve(layer.weight, factor, {.widths = {1}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("width 1")));
  EXPECT_THAT(Factor(at::full({8, 8}, NAN), 8, {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not finite")));
}

TEST(SolverInputTest, OneRowIsEnough) {
  const Layer layer = MakeLayer(1, 32, 100, 12);
  SolveOptions options{.group_size = 32};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 100, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  EXPECT_EQ(solved.at(2).codes.sizes(), at::IntArrayRef({32, 1}));
}

TEST(SolverInputTest, OneColumnIsEnough) {
  const Layer layer = MakeLayer(5, 1, 10, 14);
  SolveOptions options{.group_size = 1};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 10, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  const at::Tensor q = Dequantize(solved.at(4).codes, solved.at(4).scales, 4, 1);
  EXPECT_TRUE(at::allclose(q, layer.weight, 2e-3, 1e-6));
}

TEST(SolverInputTest, ColumnsAndRowsOfZerosStayZero) {
  Layer layer = MakeLayer(40, 64, 200, 15);
  layer.weight.select(1, 3).zero_();
  layer.weight.select(0, 7).zero_();
  const SolveOptions options{.widths = {8}, .group_size = 32};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 200, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  const at::Tensor q = Dequantize(solved.at(8).codes, solved.at(8).scales, 8, 32);
  EXPECT_EQ(q.select(0, 7).abs().max().item<float>(), 0.0f);
  EXPECT_LT(q.select(1, 3).abs().max().item<float>(), 0.01f);
}

TEST(SolverInputTest, ShapesThatFillNoBlockAreSolved) {
  // 600 columns: a sweep of 512 and a rest; 45 outputs: one run of 32 and a rest.
  const Layer layer = MakeLayer(45, 600, 1200, 16);
  const SolveOptions options{.widths = {3, 4}, .group_size = 24};
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 1200, options));
  ASSERT_OK_AND_ASSIGN(const auto solved, Solve(layer.weight, factor, options));
  for (const auto& [bits, q] : solved) {
    const at::Tensor ours = Dequantize(q.codes, q.scales, bits, 24);
    const at::Tensor paper =
        ReferenceGptq(layer.weight, layer.hessian, q.scales, bits, 24, options.damp, factor.order);
    EXPECT_NEAR(OutputError(layer, ours) / OutputError(layer, paper.to(at::kFloat)), 1.0, 0.01);
    EXPECT_NEAR(q.distortion / OutputError(layer, ours), 1.0, 2e-3);
  }
}

TEST(SolverInputTest, HessiansFromOutsideAreChecked) {
  using ::testing::HasSubstr;
  const auto refuses = [](const at::Tensor& hessian, const char* text) {
    EXPECT_THAT(CheckHessian(hessian, 8), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  };
  EXPECT_OK(CheckHessian(at::eye(8), 8));
  refuses(at::eye(9), "[8, 8], not [9, 9]");
  refuses(at::zeros({8, 4}), "not [8, 4]");
  at::Tensor skewed = at::eye(8);
  skewed[1][2] = 0.5;
  refuses(skewed, "not symmetric");
  refuses(at::eye(8) * -1, "negative");
  at::Tensor broken = at::eye(8);
  broken[1][2] = NAN;
  refuses(broken, "NaN");
  EXPECT_THAT(Factor(broken, 8, {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not finite")));
  EXPECT_THAT(Factor(at::zeros({8, 4}), 8, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("square")));
}

TEST(SolverInputTest, StopsWhenCancelled) {
  const Layer layer = MakeLayer(16, 128, 200, 13);
  std::atomic<bool> cancelled{true};
  SolveOptions options;
  options.cancelled = &cancelled;
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 200, options));
  EXPECT_TRUE(absl::IsCancelled(Solve(layer.weight, factor, options).status()));
}

}  // namespace
}  // namespace quantmoe
