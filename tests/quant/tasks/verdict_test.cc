#include "quant/tasks/verdict.h"

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

// 64 windows of one token, of which some are harder than others, times `factor`.
MeasuredPlan Windows(double factor, int broken = 0) {
  MeasuredPlan plan;
  for (int w = 0; w < 64; ++w) plan.windows.push_back(factor * (0.1 + 0.002 * (w * 37 % 64)));
  for (int w = 0; w < broken; ++w) plan.windows[static_cast<size_t>(7 * w + 3)] = 3;
  plan.figures = FiguresOf(plan.windows, /*length=*/1, /*top1_flips=*/0);
  return plan;
}

TEST(JudgeTest, APlanThatIsBetterEverywhereWins) {
  const PlanVerdict verdict = Judge(Windows(1), Windows(0.9));
  EXPECT_TRUE(verdict.plan_wins);
  EXPECT_LT(verdict.high, 0);
  EXPECT_LE(verdict.low, verdict.high);
}

TEST(JudgeTest, AWorseOneLoses) { EXPECT_FALSE(Judge(Windows(1), Windows(1.1)).plan_wins); }

TEST(JudgeTest, EqualPlansHaveNoWinner) { EXPECT_FALSE(Judge(Windows(1), Windows(1)).plan_wins); }

// Better in 60 windows of 64 and in the mean as well: what breaks counts.
TEST(JudgeTest, APlanThatBreaksWindowsLosesWhateverItsMean) {
  const PlanVerdict verdict = Judge(Windows(3), Windows(0.9, /*broken=*/1));
  EXPECT_LT(verdict.high, 0) << "the mean alone would let it win";
  EXPECT_EQ(verdict.plan.broken_windows, 1);
  EXPECT_FALSE(verdict.plan_wins);
}

TEST(JudgeTest, WindowsThatBothBreakCountForNobody) {
  EXPECT_TRUE(Judge(Windows(1, 2), Windows(0.9, 2)).plan_wins);
}

}  // namespace
}  // namespace quantmoe
