#include "quant/evaluate/intervals.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"

namespace quantmoe {
namespace {

// `flips` of `count` right answers become wrong.
std::vector<PairedSample> Answers(int count, int flips) {
  std::vector<PairedSample> samples;
  for (int i = 0; i < count; ++i)
    samples.push_back({i % 4 == 0 ? 0.0 : 1.0, i % 4 == 0 || i < flips ? 0.0 : 1.0});
  return samples;
}

TEST(IntervalsTest, EqualScoresDifferByNothing) {
  EXPECT_EQ(PairedBootstrap(Answers(100, 0), ScoreFormula::kMean, {}), (PairedInterval{0.75, 0.75, 0, 0, 0}));
}

TEST(IntervalsTest, DependsOnTheSeedAlone) {
  const auto samples = Answers(200, 40);
  const PairedInterval first = PairedBootstrap(samples, ScoreFormula::kMean, {});
  EXPECT_EQ(PairedBootstrap(samples, ScoreFormula::kMean, {}), first);
  EXPECT_DOUBLE_EQ(first.difference, -0.15);
  EXPECT_LT(first.low, first.difference);
  EXPECT_GT(first.high, first.difference);
}

// For a mean, the bootstrap is close to mean +- 1.96 standard errors of the paired differences.
TEST(IntervalsTest, AgreesWithTheNormalApproximation) {
  const auto samples = Answers(1000, 200);
  double mean = 0, squares = 0;
  for (const PairedSample& sample : samples) mean += (sample.after - sample.before) / 1000;
  for (const PairedSample& sample : samples) squares += std::pow(sample.after - sample.before - mean, 2);
  const double error = std::sqrt(squares / 1000 / 1000);
  const PairedInterval interval = PairedBootstrap(samples, ScoreFormula::kMean, {});
  EXPECT_NEAR(interval.low, mean - 1.96 * error, 0.1 * error);
  EXPECT_NEAR(interval.high, mean + 1.96 * error, 0.1 * error);
}

TEST(IntervalsTest, IntervalsCoverTheTruthAsOftenAsTheySay) {
  uint64_t state = 7;
  const auto uniform = [&state] {
    state = state * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state >> 11) * 0x1p-53;
  };
  int covered = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<PairedSample> samples;
    for (int i = 0; i < 150; ++i) {
      const double before = uniform() < 0.7 ? 1 : 0;
      samples.push_back({before, uniform() < 0.2 ? 1 - before : before});  // expected difference: -0.08
    }
    const PairedInterval interval =
        PairedBootstrap(samples, ScoreFormula::kMean, {.resamples = 500, .confidence = 0.9, .seed = 3});
    covered += interval.low <= -0.08 && -0.08 <= interval.high;
  }
  EXPECT_GT(covered, kTrials * 0.85);
  EXPECT_LT(covered, kTrials * 0.95);
}

TEST(IntervalsTest, PerplexityWeighsWindowsByTheirTokens) {
  const std::vector<PairedSample> windows = {{-30, -33, 10}, {-10, -10, 5}, {-20, -24, 10}};
  const PairedInterval interval = PairedBootstrap(windows, ScoreFormula::kExponentialLoss, {});
  EXPECT_DOUBLE_EQ(interval.before, std::exp(60.0 / 25));
  EXPECT_DOUBLE_EQ(interval.after, std::exp(67.0 / 25));
  EXPECT_DOUBLE_EQ(interval.low, 0);  // only the second window drawn
  EXPECT_GT(interval.high, interval.difference);
}

EvalReport Report(const std::vector<int>& predictions, double log_likelihood) {
  EvalReport report;
  for (size_t i = 0; i < predictions.size(); ++i) {
    ItemScore item;
    item.task = "copa";
    item.item = static_cast<int64_t>(i);
    item.prediction = predictions[i];
    item.choices = {{-1, true}, {-2, false}};
    item.tokens = {1, 1};
    report.items.push_back(item);
  }
  ItemScore window;
  window.task = kPerplexityTask;
  window.scoring = Scoring::kWindows;
  window.choices = {{log_likelihood, false}};
  window.tokens = {10};
  report.items.push_back(window);
  return report;
}

TEST(IntervalsTest, ReportsAreComparedScoreByScore) {
  const auto comparison = CompareScores(Report({0, 0, 1}, -20), Report({0, 1, 1}, -22), {});
  ASSERT_TRUE(comparison.ok()) << comparison.status().ToString();
  const auto json = nlohmann::json::parse(ComparisonToJson(*comparison, {}));
  EXPECT_EQ(json.at("confidence"), 0.95);
  ASSERT_EQ(json.at("scores").size(), 2u);
  const auto& acc = json.at("scores").at(0);
  EXPECT_EQ(acc.at("task"), "copa");
  EXPECT_EQ(acc.at("metric"), "acc");
  EXPECT_DOUBLE_EQ(acc.at("before").get<double>(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(acc.at("after").get<double>(), 1.0 / 3);
  EXPECT_EQ(acc.at("interval").at(1), 0.0);
  EXPECT_DOUBLE_EQ(json.at("scores").at(1).at("after").get<double>(), std::exp(2.2));
}

TEST(IntervalsTest, OnlyTheSameItemsAreCompared) {
  for (const EvalReport& other : {Report({0, 0}, -20), Report({0, 0, 1, 1}, -20), EvalReport()}) {
    EXPECT_EQ(GetErrorInfo(CompareScores(Report({0, 0, 1}, -20), other, {}).status()).reason,
              "EVALUATION_NOT_PAIRED");
  }
}

}  // namespace
}  // namespace quantmoe
