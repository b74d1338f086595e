#include "plan/job/pareto.h"

#include <algorithm>
#include <ctime>
#include <functional>

#include "absl/strings/str_cat.h"

#include "nlohmann/json.hpp"
#include "plan/allocate/artifact_size.h"
#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

const std::vector<TensorInfo> kKept = {{"lm_head.weight", DType::kBF16, {256, 128}}};

TEST(ParetoTest, EveryPointIsAPlanOfItsBudgetAndNoneBeatsTheHull) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  const JobSpec spec = AverageBitsSpec("uniform", 3);
  ASSERT_OK_AND_ASSIGN(const ParetoFront front, TraceFront(table, spec, kKept, 9));
  ASSERT_EQ(front.points.size(), 9u);
  for (size_t i = 0; i < front.points.size(); ++i) {
    const ParetoPoint& point = front.points[i];
    JobSpec same = AverageBitsSpec("optimal", 0);
    same.budget = {};
    same.budget.max_bytes = point.bytes;
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, same, kKept));
    EXPECT_EQ(plan.weight_file_bytes, point.bytes);
    EXPECT_DOUBLE_EQ(plan.loss, point.loss);
    EXPECT_LE(point.lower_bound, point.loss);
    EXPECT_TRUE(i == 0 || (point.bytes > front.points[i - 1].bytes && point.loss < front.points[i - 1].loss));
    // The hull, between its corners; headers differ by some hundred bytes.
    for (size_t c = 1; c < front.hull.size(); ++c) {
      const HullPoint &a = front.hull[c - 1], &b = front.hull[c];
      if (point.bytes + 1000 < b.cost || point.bytes + 1000 >= b.cost + (b.cost - a.cost)) continue;
      EXPECT_GE(point.loss, b.value * (1 - 1e-9) - (a.value - b.value)) << point.bytes;
    }
  }
  ASSERT_EQ(front.uniform.size(), 4u);
  for (const ParetoPoint& uniform : front.uniform) {
    const auto next = std::find_if(front.points.begin(), front.points.end(),
                                   [&](const ParetoPoint& point) { return point.bytes >= uniform.bytes; });
    EXPECT_TRUE(next == front.points.end() || next->loss <= uniform.loss * (1 + 1e-9));
  }
}

double CpuSecondsOf(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Every point of a front asks for several sizes; what is the same in all of them is laid out once.
TEST(ParetoTest, TensorsThatStayAsTheyAreAreNotLaidOutForEveryPoint) {
  const ModelSpec model = ParseOrDie(SmallMoeConfig());
  std::vector<TensorInfo> kept;
  for (int i = 0; i < 30'000; ++i) kept.push_back({absl::StrCat("unused.", i), DType::kF16, {4}});
  const double one_layout = CpuSecondsOf([&] {
    LayOutWeightFiles(
        ListLinears(model), kept, [](const Linear&) { return 4; }, 128);
  });
  const DistortionTable table = MakeTable(model);
  const double front =
      CpuSecondsOf([&] { EXPECT_OK(TraceFront(table, AverageBitsSpec("optimal", 3), kept, 24)); });
  EXPECT_LT(front, 30 * one_layout);
}

TEST(ParetoTest, NoGroupSizeThatDividesIsRefusedAndNotDividedBy) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  table.parts.front().rows.front().linear.in = 100;
  EXPECT_FALSE(TraceFront(table, AverageBitsSpec("optimal", 3), kKept, 3).ok());
  EXPECT_FALSE(Allocate(table, AverageBitsSpec("optimal", 3), kKept).ok());
}

TEST(ParetoTest, AnotherPlanIsPlacedByTheTable) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(BitPlan plan, Allocate(table, AverageBitsSpec("attention-first", 3.1), kKept));
  ASSERT_OK_AND_ASSIGN(const ParetoPoint point, PlacePlan(table, AverageBitsSpec("optimal", 5), plan));
  EXPECT_EQ(point.bytes, plan.weight_file_bytes);
  EXPECT_NEAR(point.loss, plan.loss, 1e-9 * plan.loss);
  plan.linears.pop_back();
  EXPECT_FALSE(PlacePlan(table, AverageBitsSpec("optimal", 5), plan).ok());
}

TEST(ParetoTest, DrawingsShowWhatTheJsonSays) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(ParetoFront front, TraceFront(table, AverageBitsSpec("optimal", 3), kKept, 5));
  front.measured.push_back({"jobs/<a>", "optimal", front.points[2], 7.25});
  const auto json = nlohmann::json::parse(ParetoFrontToJson(front));
  EXPECT_EQ(json["points"].size(), 5u);
  EXPECT_EQ(json["measured"][0]["perplexity"], 7.25);
  EXPECT_TRUE(json["original_perplexity"].is_null());
  const std::string text = DrawFrontAsText(front), svg = DrawFrontAsSvg(front);
  for (const ParetoPoint& point : front.points) {
    EXPECT_THAT(text, testing::HasSubstr(std::to_string(point.bytes)));
  }
  EXPECT_THAT(text, testing::HasSubstr("7.2500"));
  EXPECT_THAT(svg, testing::HasSubstr("jobs/&lt;a>"));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace quantmoe
