#include "plan/allocate/tail_figures.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

// Twenty windows of two tokens, of which one is broken.
std::vector<double> Rows() {
  std::vector<double> rows(40, 0.1);
  rows[6] = 5;
  rows[7] = 3;
  rows[12] = 0.5;
  return rows;
}

TEST(TailFiguresTest, AMeanHidesWhatTailsShow) {
  const TailFigures figures = FiguresOf(Rows(), /*length=*/2, /*top1_flips=*/3);
  EXPECT_NEAR(figures.mean, (37 * 0.1 + 5 + 3 + 0.5) / 40, 1e-14);
  EXPECT_DOUBLE_EQ(figures.worst_window, 4);
  EXPECT_DOUBLE_EQ(figures.cvar, (4 + 0.3) / 2) << "two of twenty windows";
  EXPECT_DOUBLE_EQ(figures.percentile_99, 5);
  EXPECT_EQ(figures.broken_windows, 1);
  EXPECT_EQ(figures.top1_flips, 3);
}

TEST(TailFiguresTest, EqualWindowsHaveNoTail) {
  const TailFigures figures = FiguresOf(std::vector<double>(64, 0.25), /*length=*/64, 0);
  EXPECT_EQ(figures, (TailFigures{0.25, 0.25, 0.25, 0.25, 0.25, 0, 0}));
  EXPECT_EQ(FiguresOf({0, 0}, 1, 0), TailFigures{}) << "a plan that changes nothing breaks nothing";
}

TEST(TailFiguresTest, ReadsWhatItWrites) {
  const TailFigures figures = FiguresOf(Rows(), 2, 3);
  EXPECT_EQ(TailFiguresOf(TailFiguresJson(figures)), figures);
}

}  // namespace
}  // namespace quantmoe
