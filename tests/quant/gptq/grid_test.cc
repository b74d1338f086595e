#include "quant/gptq/grid.h"

#include "gtest/gtest.h"
#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// Weighted squared error of rounding `w` [in, out] to the grid with these scales.
double Error(const at::Tensor& w, const at::Tensor& h, const at::Tensor& scales, int bits, int group_size) {
  const double half = 1 << (bits - 1);
  const at::Tensor s = scales.repeat_interleave(group_size, 0);
  const at::Tensor q = at::where(s == 0, at::zeros_like(w), (w / s).round().clamp(-half, half - 1) * s);
  return ((w - q).pow(2) * h.unsqueeze(1)).sum(at::kDouble).item<double>();
}

at::Tensor Fit(const at::Tensor& w, const at::Tensor& h, int bits, int group_size, bool search) {
  at::Tensor scales = at::empty({w.size(0) / group_size, w.size(1)});
  FitGrid(w.const_data_ptr<float>(), h.const_data_ptr<float>(), w.size(0), w.size(1),
          {bits, group_size, search}, scales.data_ptr<float>());
  return scales;
}

TEST(GridTest, FullRangeReachesTheLargestWeight) {
  const at::Tensor w = at::randn({64, 5});
  const at::Tensor scales = Fit(w, at::ones({64}), 4, 32, /*search=*/false);
  const at::Tensor peak = w.view({2, 32, 5}).abs().amax(1);
  EXPECT_LT((scales * 7.5 - peak).abs().max().item<double>(), 2e-3 * peak.max().item<double>());
}

// Against a search that only tries very many scales.
TEST(GridTest, SearchIsAsGoodAsTryingEveryScale) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  const at::Tensor w = at::randn({64, 40}, generator), h = at::exp(at::randn({64}, generator));
  for (const int bits : {2, 3, 4}) {
    const at::Tensor found = Fit(w, h, bits, 64, /*search=*/true);
    at::Tensor best = at::full({40}, HUGE_VAL, at::kDouble);
    const double half = 1 << (bits - 1);
    for (int i = 1; i <= 400; ++i) {
      for (const double sign : {-1.0, 1.0}) {
        const at::Tensor s =
            (w.abs().amax(0) * (sign * i / 400.0 * 2.0 / (2 * half - 1))).to(at::kHalf).to(at::kFloat);
        const at::Tensor q = (w / s).round().clamp(-half, half - 1) * s;
        best = at::minimum(best, ((w - q).pow(2) * h.unsqueeze(1)).sum({0}, false, at::kDouble));
      }
    }
    EXPECT_LT(Error(w, h, found, bits, 64), 1.05 * best.sum().item<double>()) << bits << " bits";
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
    const at::Tensor together = Fit(w, h, bits, 64, /*search=*/true);
    for (int64_t column = 0; column < w.size(1); ++column) {
      const at::Tensor alone = w.slice(1, column, column + 1).expand({64, 32}).contiguous();
      EXPECT_EQ(Fit(alone, h, bits, 64, true)[0][0].item<float>(), together[0][column].item<float>())
          << bits << " bits, output " << column;
    }
  }
}

TEST(GridTest, ScalesAreExactInHalfPrecision) {
  const at::Tensor scales = Fit(at::randn({128, 33}), at::ones({128}), 3, 128, true);
  EXPECT_TRUE(scales.to(at::kHalf).to(at::kFloat).equal(scales));
}

TEST(GridTest, AZeroGroupStaysZero) {
  const at::Tensor w = at::zeros({32, 3});
  EXPECT_EQ(Error(w, at::ones({32}), Fit(w, at::ones({32}), 2, 32, true), 2, 32), 0.0);
}

TEST(GridTest, ChannelsWithoutImportanceDoNotMoveTheScale) {
  at::Tensor w = at::randn({32, 4});
  at::Tensor h = at::ones({32});
  h[7] = 0;
  at::Tensor moved = w.clone();
  const at::Tensor before = Fit(w, h, 8, 32, true);
  // Inside the range, so the candidates stay the same.
  moved.select(0, 7).fill_(0.01f);
  w.select(0, 7).fill_(0.02f);
  EXPECT_TRUE(Fit(w, h, 8, 32, true).equal(Fit(moved, h, 8, 32, true)));
  EXPECT_TRUE(at::isfinite(before).all().item<bool>());
}

}  // namespace
}  // namespace quantmoe
