#include "plan/allocate/tail_risk.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantmoe {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

double Cvar(const std::vector<double>& losses, double level) { return MeasureRisk(losses, {level, 1}).cvar; }

TEST(TailRiskTest, AShareThatEndsInsideAWindowCountsItInPart) {
  const std::vector<double> losses = {3, 10, 1, 2, 4, 9, 6, 5, 7, 8};
  EXPECT_DOUBLE_EQ(Cvar(losses, 0.75), (10 + 9 + 0.5 * 8) / 2.5);
  EXPECT_DOUBLE_EQ(Cvar(losses, 0.8), 9.5);
  EXPECT_DOUBLE_EQ(Cvar(losses, 0.5), 8);
}

TEST(TailRiskTest, LevelsAtTheirEnds) {
  const std::vector<double> losses = {-1, 4, 0, 1};
  EXPECT_DOUBLE_EQ(Cvar(losses, 0), 1) << "the mean";
  EXPECT_DOUBLE_EQ(Cvar(losses, 1), 4) << "the worst window";
  EXPECT_DOUBLE_EQ(Cvar(losses, 0.9), 4) << "less than one window is the worst one";
  EXPECT_DOUBLE_EQ(Cvar({-2}, 0.5), -2);
}

TEST(TailRiskTest, TheRiskBlendsMeanAndTail) {
  const RiskOfLosses risk = MeasureRisk({1, 2, 3, 10}, {0.5, 0.25});
  EXPECT_DOUBLE_EQ(risk.mean, 4);
  EXPECT_DOUBLE_EQ(risk.cvar, 6.5);
  EXPECT_DOUBLE_EQ(risk.risk, 0.75 * 4 + 0.25 * 6.5);
}

// Rockafellar and Uryasev, equation 4: CVaR is the least of t + E max(L - t, 0) / (1 - level), which is
// linear between losses.
TEST(TailRiskTest, EqualsTheMinimumOfRockafellarAndUryasev) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> real(-1, 1);
  for (int i = 0; i < 500; ++i) {
    std::vector<double> losses(1 + random() % 20);
    for (double& loss : losses) loss = real(random);
    const double level = 0.99 * static_cast<double>(random() % 1000) / 1000;
    double least = std::numeric_limits<double>::infinity();
    for (double t : losses) {
      double excess = 0;
      for (double loss : losses) excess += std::max(loss - t, 0.0);
      least = std::min(least, t + excess / (1 - level) / static_cast<double>(losses.size()));
    }
    ASSERT_NEAR(Cvar(losses, level), least, 1e-12) << i;
    const std::vector<double> weights = TailWeights(losses, level);
    ASSERT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1, 1e-12);
    ASSERT_NEAR(std::inner_product(weights.begin(), weights.end(), losses.begin(), 0.0), least, 1e-12);
    for (double weight : weights) ASSERT_LE(weight, LargestWindowWeight(losses.size(), level));
  }
}

TEST(TailRiskTest, WeightsAboveTheLargestAreCutAndTheRestSharesWhatIsLeft) {
  EXPECT_THAT(CapWeights({6, 1, 3}, 0.5),
              ElementsAre(DoubleNear(0.5, 1e-15), DoubleNear(0.125, 1e-15), DoubleNear(0.375, 1e-15)));
  EXPECT_THAT(CapWeights({1, 1, 2}, 1), ElementsAre(0.25, 0.25, 0.5)) << "scaled to one alone";
  EXPECT_THAT(CapWeights({8, 1, 7, 4}, 0.25), ElementsAre(0.25, 0.25, 0.25, 0.25));
  EXPECT_THAT(CapWeights({1, 1e-30, 3e-30}, 0.5),
              ElementsAre(0.5, DoubleNear(0.125, 1e-15), DoubleNear(0.375, 1e-15)))
      << "small weights are not lost beside large ones";
}

TEST(TailRiskTest, CappedWeightsAreWeights) {
  std::mt19937 random(6);
  for (int i = 0; i < 500; ++i) {
    std::vector<double> weights(1 + random() % 30);
    for (double& weight : weights) weight = 1.0 / static_cast<double>(1 + random() % 100000);
    const double largest = LargestWindowWeight(weights.size(), static_cast<double>(random() % 100) / 100);
    const std::vector<double> capped = CapWeights(weights, largest);
    ASSERT_NEAR(std::accumulate(capped.begin(), capped.end(), 0.0), 1, 1e-12) << i;
    for (size_t r = 0; r < weights.size(); ++r) {
      ASSERT_LE(capped[r], largest) << i;
      ASSERT_GE(capped[r], 0) << i;
      for (size_t s = 0; s < weights.size(); ++s) {
        if (capped[r] < largest && capped[s] < largest) {
          ASSERT_NEAR(capped[r] * weights[s], capped[s] * weights[r], 1e-12) << "ratios stay";
        }
      }
    }
  }
}

}  // namespace
}  // namespace quantmoe
