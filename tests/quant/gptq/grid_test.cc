#include "quant/gptq/grid.h"

#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "plan/options/option.h"

namespace quantmoe {
namespace {

constexpr ScaleRule kSigned = ScaleRule::kSigned, kPositive = ScaleRule::kPositive;

// Weighted squared error of rounding `w` [in, out] to the grid with these scales.
double Error(const at::Tensor& w, const at::Tensor& h, const at::Tensor& scales, int bits, int group_size) {
  const double half = 1 << (bits - 1);
  const at::Tensor s = scales.repeat_interleave(group_size, 0);
  const at::Tensor q = at::where(s == 0, at::zeros_like(w), (w / s).round().clamp(-half, half - 1) * s);
  return ((w - q).pow(2) * h.unsqueeze(1)).sum(at::kDouble).item<double>();
}

at::Tensor Fit(const at::Tensor& w, const at::Tensor& h, int bits, int group_size, ScaleRule rule) {
  at::Tensor scales = at::empty({w.size(0) / group_size, w.size(1)});
  FitGrid(w.const_data_ptr<float>(), h.const_data_ptr<float>(), w.size(0), w.size(1),
          {bits, group_size, rule}, scales.data_ptr<float>());
  return scales;
}

TEST(GridTest, FullRangeReachesTheLargestWeight) {
  const at::Tensor w = at::randn({64, 5});
  const at::Tensor scales = Fit(w, at::ones({64}), 4, 32, ScaleRule::kRange);
  const at::Tensor peak = w.view({2, 32, 5}).abs().amax(1);
  EXPECT_LT((scales * 7.5 - peak).abs().max().item<double>(), 2e-3 * peak.max().item<double>());
}

// What the best of very many scales for each output leaves; i / 400 of the full range from `first` on.
double LeastError(const at::Tensor& w, const at::Tensor& h, int bits, int first) {
  at::Tensor best = at::full({w.size(1)}, HUGE_VAL, at::kDouble);
  const double half = 1 << (bits - 1);
  for (int i = first; i <= 400; ++i) {
    if (i == 0) continue;
    const at::Tensor s = (w.abs().amax(0) * (i / 400.0 * 2.0 / (2 * half - 1))).to(at::kHalf).to(at::kFloat);
    const at::Tensor q = (w / s).round().clamp(-half, half - 1) * s;
    best = at::minimum(best, ((w - q).pow(2) * h.unsqueeze(1)).sum({0}, false, at::kDouble));
  }
  return best.sum().item<double>();
}

TEST(GridTest, SearchIsAsGoodAsTryingEveryScale) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  const at::Tensor w = at::randn({64, 40}, generator), h = at::exp(at::randn({64}, generator));
  for (const int bits : {2, 3, 4}) {
    for (const ScaleRule rule : {kPositive, kSigned}) {
      const double best = LeastError(w, h, bits, rule == kSigned ? -400 : 1);
      EXPECT_LT(Error(w, h, Fit(w, h, bits, 64, rule), bits, 64), 1.05 * best)
          << bits << " bits, " << ChoiceName(rule);
    }
  }
}

TEST(GridTest, OnlySignedScalesAreNegative) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  const at::Tensor w = at::randn({32, 40}, generator), h = at::ones({32});
  w.select(1, 1).abs_();
  w.select(1, 2).abs_().neg_();
  w.select(1, 3).zero_();
  w.select(1, 4).mul_(1e-12f);
  for (const int bits : {2, 4}) {
    EXPECT_TRUE((Fit(w, h, bits, 32, ScaleRule::kRange) > 0).all().item<bool>());
    EXPECT_TRUE((Fit(w, h, bits, 32, kPositive) > 0).all().item<bool>());
    const at::Tensor scales = Fit(w, h, bits, 32, kSigned);
    EXPECT_TRUE((scales < 0).any().item<bool>());
    EXPECT_TRUE((scales != 0).all().item<bool>());
    EXPECT_LT(Error(w, h, scales, bits, 32), Error(w, h, Fit(w, h, bits, 32, kPositive), bits, 32));
  }
}

// Most peaks are negative and carry the importance, so a bound that forgets how far the lowest code reaches
// would stop the search of some outputs when their neighbours stop.
TEST(GridTest, AScaleDoesNotDependOnItsNeighbours) {
  at::Generator generator = at::detail::createCPUGenerator(2);
  const at::Tensor w = at::randn({64, 256}, generator), h = at::exp(2 * at::randn({64}, generator));
  w[0].copy_(-3.0f - 3.0f * at::rand({256}, generator));
  h[0] = 50.0f;
  for (const int bits : {2, 3, 4}) {
    const at::Tensor together = Fit(w, h, bits, 64, kSigned);
    for (int64_t column = 0; column < w.size(1); ++column) {
      const at::Tensor alone = w.slice(1, column, column + 1).expand({64, 32}).contiguous();
      EXPECT_EQ(Fit(alone, h, bits, 64, kSigned)[0][0].item<float>(), together[0][column].item<float>())
          << bits << " bits, output " << column;
    }
  }
}

TEST(GridTest, ScalesAreExactInHalfPrecision) {
  const at::Tensor scales = Fit(at::randn({128, 33}), at::ones({128}), 3, 128, kSigned);
  EXPECT_TRUE(scales.to(at::kHalf).to(at::kFloat).equal(scales));
}

TEST(GridTest, AZeroGroupStaysZero) {
  const at::Tensor w = at::zeros({32, 3});
  EXPECT_EQ(Error(w, at::ones({32}), Fit(w, at::ones({32}), 2, 32, kSigned), 2, 32), 0.0);
}

TEST(GridTest, ChannelsWithoutImportanceDoNotMoveTheScale) {
  at::Tensor w = at::randn({32, 4});
  at::Tensor h = at::ones({32});
  h[7] = 0;
  at::Tensor moved = w.clone();
  const at::Tensor before = Fit(w, h, 8, 32, kSigned);
  // Inside the range, so the candidates stay the same.
  moved.select(0, 7).fill_(0.01f);
  w.select(0, 7).fill_(0.02f);
  EXPECT_TRUE(Fit(w, h, 8, 32, kSigned).equal(Fit(moved, h, 8, 32, kSigned)));
  EXPECT_TRUE(at::isfinite(before).all().item<bool>());
}

}  // namespace
}  // namespace quantmoe
