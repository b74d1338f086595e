#include "plan/heuristics.h"

#include <cmath>

#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

// Plans over Mixtral-8x7B's shapes, compared with the averages that QuantMoE-Bench publishes.
BitPlan PlanMixtral(const std::string& heuristic, double budget, std::map<std::string, std::string> params) {
  static const DistortionTable* const kTable = new DistortionTable(MakeTable(ParseOrDie(MixtralConfig())));
  JobSpec spec = AverageBitsSpec(heuristic, budget);
  spec.heuristic_params = std::move(params);
  absl::StatusOr<BitPlan> plan = Allocate(*kTable, spec, {});
  if (!plan.ok()) throw std::runtime_error(plan.status().ToString());
  return *std::move(plan);
}

int ExpertsAt(const BitPlan& plan, int bits) {
  int linears = 0;
  for (const PlannedLinear& planned : plan.linears)
    linears += IsExpert(planned.linear.kind) && planned.bits == bits;
  EXPECT_EQ(linears % 3, 0) << "an expert is raised as a whole";
  return linears / 3;
}

double Published(double bits) { return std::round(bits * 100) / 100; }

TEST(HeuristicsTest, AverageBitsAsPublishedForMixtral) {
  const std::map<std::string, std::string> frequency = {{"scope", "layer"}, {"floor", "2"}, {"raise", "4"}};
  const auto with = [&frequency](const char* key, const char* value) {
    std::map<std::string, std::string> params = frequency;
    params[key] = value;
    return params;
  };
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, with("count", "0")).average_bits), 2.06);
  std::map<std::string, std::string> eight = with("count", "0");
  eight["others"] = "8";
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, eight).average_bits), 2.17);
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, with("count", "1")).average_bits), 2.30);
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, with("count", "2")).average_bits), 2.54);
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, with("count", "3")).average_bits), 2.79);
  EXPECT_EQ(Published(PlanMixtral("expert-frequency", 8, with("count", "4")).average_bits), 3.03);
}

TEST(HeuristicsTest, AStrictBudgetOfThreeBitsRaises124Experts) {
  const BitPlan plan =
      PlanMixtral("expert-frequency", 3.0, {{"scope", "global"}, {"floor", "2"}, {"raise", "4"}});
  EXPECT_EQ(ExpertsAt(plan, 4), 124);
  EXPECT_NEAR(plan.average_bits, 2.9986, 5e-5);
  const BitPlan published =
      PlanMixtral("expert-frequency", 3.014, {{"scope", "global"}, {"floor", "2"}, {"raise", "4"}});
  EXPECT_EQ(ExpertsAt(published, 4), 126);
  EXPECT_NEAR(published.average_bits, 3.0137, 5e-5);
}

TEST(HeuristicsTest, AttentionFirstRaisesAttentionOnly) {
  const BitPlan plan = PlanMixtral("attention-first", 2.06, {{"floor", "2"}, {"raise", "4"}});
  EXPECT_EQ(Published(plan.average_bits), 2.06);
  for (const PlannedLinear& planned : plan.linears) {
    EXPECT_EQ(planned.bits, IsAttention(planned.linear.kind) ? 4 : 2) << planned.linear.name;
  }
}

TEST(HeuristicsTest, UniformTakesTheLargestWidthThatFits) {
  EXPECT_EQ(PlanMixtral("uniform", 3.99, {}).average_bits, 3.0);
  EXPECT_EQ(PlanMixtral("uniform", 4.0, {}).average_bits, 4.0);
  EXPECT_EQ(PlanMixtral("uniform", 8.0, {}).average_bits, 8.0);
}

TEST(HeuristicsTest, TheMostUsedExpertsOfEveryLayerAreRaised) {
  const ModelSpec model = ParseOrDie(SmallMoeConfig());
  const DistortionTable table = MakeTable(model, [](int layer, int expert) { return (expert + layer) % 4; });
  JobSpec spec = AverageBitsSpec("expert-frequency", 8);
  spec.heuristic_params = {{"count", "1"}, {"raise", "8"}, {"others", "2"}};
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
  for (const PlannedLinear& planned : plan.linears) {
    const Linear& linear = planned.linear;
    const bool top = IsExpert(linear.kind) && (linear.expert + linear.layer) % 4 == 3;
    EXPECT_EQ(planned.bits, top ? 8 : 2) << linear.name;
  }
}

TEST(HeuristicsTest, SharedFirstSpendsOnSharedExpertsBeforeAttention) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("shared-first", 2.9), {}));
  int shared = 8;
  int attention = 0;
  for (const PlannedLinear& planned : plan.linears) {
    if (IsShared(planned.linear.kind)) shared = std::min(shared, planned.bits);
    if (IsAttention(planned.linear.kind)) attention = std::max(attention, planned.bits);
  }
  EXPECT_EQ(shared, 4);
  EXPECT_LE(attention, 4);
  EXPECT_LE(plan.average_bits, 2.9);
}

TEST(HeuristicsTest, AnOpenRankingGoesOnToEightBits) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("attention-first", 5.0), {}));
  EXPECT_GT(plan.average_bits, 4.5);
  JobSpec closed = AverageBitsSpec("attention-first", 5.0);
  closed.heuristic_params["raise"] = "4";
  ASSERT_OK_AND_ASSIGN(const BitPlan limited, Allocate(table, closed, {}));
  EXPECT_EQ(limited.average_bits, 4.0);
}

TEST(HeuristicsTest, OptimalIsNeverWorse) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (const double budget : {2.0, 2.31, 3.0, 3.7, 4.4, 6.1, 8.0}) {
    ASSERT_OK_AND_ASSIGN(const BitPlan optimal, Allocate(table, AverageBitsSpec("optimal", budget), {}));
    EXPECT_DOUBLE_EQ(optimal.lower_bound, optimal.distortion);
    EXPECT_LE(optimal.average_bits, budget);
    for (const HeuristicDescription& heuristic : Heuristics()) {
      ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec(heuristic.name, budget), {}));
      EXPECT_LE(plan.average_bits, budget) << heuristic.name;
      EXPECT_GE(plan.distortion, optimal.distortion * (1 - 1e-12)) << heuristic.name << " at " << budget;
    }
  }
}

TEST(HeuristicsTest, BadNamesAndParametersAreNamed) {
  const std::vector<int> widths = {2, 3, 4, 8};
  EXPECT_EQ(CheckHeuristic("magic", {}, widths).front().field, "spec.heuristic.name");
  EXPECT_EQ(CheckHeuristic("optimal", {{"floor", "2"}}, widths).front().field,
            "spec.heuristic.params[floor]");
  EXPECT_EQ(CheckHeuristic("attention-first", {{"raise", "5"}}, widths).front().field,
            "spec.heuristic.params[raise]");
  EXPECT_EQ(CheckHeuristic("attention-first", {{"raise", "2"}, {"floor", "4"}}, widths).front().field,
            "spec.heuristic.params[raise]");
  EXPECT_EQ(CheckHeuristic("expert-frequency", {{"scope", "world"}}, widths).front().field,
            "spec.heuristic.params[scope]");
  EXPECT_EQ(CheckHeuristic("expert-frequency", {{"count", "-1"}, {"others", "x"}}, widths).size(), 2u);
  EXPECT_TRUE(CheckHeuristic("expert-frequency", {{"count", "3"}, {"scope", "global"}}, widths).empty());
}

}  // namespace
}  // namespace quantmoe
