#include <cmath>
#include <map>
#include <set>

#include "plan/allocate/loss.h"
#include "plan/allocate/tail_risk.h"
#include "plan/heuristics/heuristic.h"
#include "plan/heuristics/heuristic_checks.h"
#include "plan/job/job_allocation.h"
#include "plan/job/presets.h"
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
    linears += IsExpert(planned.linear.kind) && planned.width == bits;
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
    EXPECT_EQ(planned.width, IsAttention(planned.linear.kind) ? 4 : 2) << planned.linear.name;
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
    EXPECT_EQ(planned.width, top ? 8 : 2) << linear.name;
  }
}

TEST(HeuristicsTest, SharedFirstSpendsOnSharedExpertsBeforeAttention) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("shared-first", 2.9), {}));
  int shared = 8;
  int attention = 0;
  for (const PlannedLinear& planned : plan.linears) {
    if (IsShared(planned.linear.kind)) shared = std::min(shared, planned.width);
    if (IsAttention(planned.linear.kind)) attention = std::max(attention, planned.width);
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
    EXPECT_DOUBLE_EQ(optimal.lower_bound, optimal.loss);
    EXPECT_LE(optimal.average_bits, budget);
    for (const Heuristic& heuristic : Heuristics()) {
      ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec(heuristic.name, budget), {}));
      EXPECT_LE(plan.average_bits, budget) << heuristic.name;
      EXPECT_GE(plan.loss, optimal.loss * (1 - 1e-12)) << heuristic.name << " at " << budget;
    }
  }
}

// The paper's averages are rounded in some places and truncated in others (3.0695 is printed as 3.06).
TEST(HeuristicsTest, PresetsHaveThePublishedAverages) {
  const DistortionTable mixtral = MakeTable(ParseOrDie(MixtralConfig()));
  const DistortionTable deepseek = DeepSeekMoe16bTable();
  for (const Preset& preset : Presets()) {
    JobSpec spec;
    spec.model_uri = "/models/m";
    ASSERT_THAT(ApplyPreset(preset.name, spec), testing::IsEmpty());
    const bool is_mixtral = preset.name.starts_with("mixtral");
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(is_mixtral ? mixtral : deepseek, spec, {}));
    const double truncated = std::floor(plan.average_bits * 100) / 100;
    EXPECT_TRUE(std::abs(truncated - preset.average_bits) < 1e-9 ||
                std::abs(Published(plan.average_bits) - preset.average_bits) < 1e-9)
        << preset.name << ": " << plan.average_bits << ", published " << preset.average_bits;
  }
}

TEST(HeuristicsTest, ThePublishedCombinedRecipeLinearByLinear) {
  const DistortionTable table = DeepSeekMoe16bTable();
  JobSpec spec;
  spec.model_uri = "/models/m";
  ASSERT_THAT(ApplyPreset("deepseek-combined", spec), testing::IsEmpty());
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
  for (const PlannedLinear& planned : plan.linears) {
    const Linear& linear = planned.linear;
    const bool routed = IsExpert(linear.kind);
    // The counts of a layer are a permutation of 0..63.
    const bool often = routed && (linear.expert * 29 + linear.layer) % 64 >= 64 - 25;
    EXPECT_EQ(planned.width, !routed || linear.layer <= 5 || often ? 4 : 2) << linear.name;
  }
}

// The linears at `bits`.
std::set<std::string> NamesAt(const BitPlan& plan, int bits) {
  std::set<std::string> names;
  for (const PlannedLinear& planned : plan.linears) {
    if (planned.width == bits) names.insert(planned.linear.name);
  }
  return names;
}

TEST(HeuristicsTest, OutliersAreTheLargestScores) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(4, 8)));
  for (const std::string scope : {"routed", "all"}) {
    JobSpec spec = AverageBitsSpec("outlier", 8);
    spec.heuristic_params = {{"scope", scope}, {"share", "0.3"}, {"floor", "2"}, {"raise", "4"}};
    if (scope == "routed") spec.heuristic_params["others"] = "2";
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
    std::vector<std::pair<double, std::string>> ranked;
    for (const PartTable& part : table.parts) {
      for (const DistortionRow& row : part.rows) {
        if (scope == "all" || IsExpert(row.linear.kind))
          ranked.emplace_back(row.outlier_score, row.linear.name);
      }
    }
    const std::set<std::string> raised = NamesAt(plan, 4);
    ASSERT_EQ(raised.size(), std::ceil(0.3 * static_cast<double>(ranked.size())));
    double least = 1e30, most = 0;
    for (const auto& [score, name] : ranked) {
      if (raised.count(name) == 1) least = std::min(least, score);
      if (raised.count(name) == 0) most = std::max(most, score);
    }
    EXPECT_GE(least, most) << scope;
  }
}

TEST(HeuristicsTest, BlocksFollowTheirCosines) {
  const ModelSpec model = ParseOrDie(SmallMoeConfig(5, 4));  // MoE blocks 1..4
  DistortionTable table = MakeTable(model);
  const std::map<int, double> ffn = {{1, 900}, {2, 100}, {3, 500}, {4, 300}};
  for (RoutingCounts& routing : table.routing) {
    routing.ffn_cosine = ffn.at(routing.layer);
    routing.stream_cosine = -routing.ffn_cosine;
  }
  const auto raised_blocks = [&](const std::string& heuristic, std::map<std::string, std::string> params) {
    JobSpec spec = AverageBitsSpec(heuristic, 8);
    spec.heuristic_params = std::move(params);
    spec.heuristic_params.insert({{"floor", "2"}, {"raise", "4"}, {"others", "2"}, {"count", "2"}});
    const BitPlan plan = Allocate(table, spec, {}).value();
    std::set<int> layers;
    for (const PlannedLinear& planned : plan.linears) {
      if (planned.width == 4) layers.insert(planned.linear.layer);
    }
    return layers;
  };
  EXPECT_THAT(raised_blocks("block-importance", {}), testing::ElementsAre(2, 4));
  EXPECT_THAT(raised_blocks("block-importance", {{"similarity", "stream"}}), testing::ElementsAre(1, 3));
  // What the trained network says, where it says something else.
  const std::map<std::string, std::string> trained = {{"estimate", "trained"}};
  JobSpec spec = AverageBitsSpec("block-importance", 8);
  spec.heuristic_params = trained;
  EXPECT_THAT(Allocate(table, spec, {}), HasReason("STATISTICS_MISSING"));
  for (RoutingCounts& routing : table.routing) routing.predicted_cosine = 0.1 * routing.layer;
  ASSERT_OK_AND_ASSIGN(table, DistortionTableFromJson(DistortionTableToJson(table)));
  EXPECT_THAT(raised_blocks("block-importance", trained), testing::ElementsAre(1, 2));
  spec.heuristic_params["similarity"] = "stream";
  EXPECT_THAT(Allocate(table, spec, {}), HasReason("INVALID_FIELD"));
  EXPECT_THAT(raised_blocks("first-blocks", {}), testing::ElementsAre(1, 2));
  EXPECT_THAT(raised_blocks("last-blocks", {}), testing::ElementsAre(3, 4));
}

TEST(HeuristicsTest, ARandomControlDependsOnItsSeedAlone) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(5, 16)));
  const auto names = [&table](const char* seed) {
    JobSpec spec = AverageBitsSpec("random", 8);
    spec.heuristic_params = {{"seed", seed}, {"count", "20"}, {"raise", "4"}, {"others", "2"}};
    return NamesAt(*Allocate(table, spec, {}), 4);
  };
  const std::set<std::string> first = names("42");
  EXPECT_EQ(first.size(), 60u);
  EXPECT_NE(first, names("43"));
  for (PartTable& part : table.parts) {
    for (DistortionRow& row : part.rows) row.widths[2].distortion = 1;
  }
  EXPECT_EQ(first, names("42"));
}

TEST(HeuristicsTest, OtherScoresRankExpertsToo) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(2, 8)));  // one MoE block
  const auto raised = [&table](const char* heuristic) {
    JobSpec spec = AverageBitsSpec(heuristic, 8);
    spec.heuristic_params = {{"count", "1"}, {"raise", "4"}, {"others", "2"}};
    std::set<int> experts;
    const BitPlan plan = Allocate(table, spec, {}).value();
    for (const PlannedLinear& planned : plan.linears) {
      if (planned.width == 4) experts.insert(planned.linear.expert);
    }
    return experts;
  };
  const std::vector<double>& weights = table.routing.front().router_weights;
  const auto best = std::max_element(weights.begin(), weights.end()) - weights.begin();
  EXPECT_THAT(raised("router-weight"), testing::ElementsAre(best));
  std::map<int, double> wanda;
  for (const PartTable& part : table.parts) {
    for (const DistortionRow& row : part.rows) {
      if (IsExpert(row.linear.kind)) wanda[row.linear.expert] += row.wanda_score;
    }
  }
  const auto top = std::max_element(wanda.begin(), wanda.end(),
                                    [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_THAT(raised("wanda"), testing::ElementsAre(top->first));
}

TEST(HeuristicsTest, MissingStatisticsAreNamed) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (RoutingCounts& routing : table.routing) {
    routing.tokens = 0;
    routing.router_weights.clear();
    routing.counts.clear();
  }
  for (PartTable& part : table.parts) {
    for (DistortionRow& row : part.rows) row.wanda_score = 0;
  }
  for (const char* heuristic :
       {"block-importance", "router-weight", "expert-frequency", "combined", "wanda"}) {
    EXPECT_THAT(Allocate(table, AverageBitsSpec(heuristic, 3), {}), HasReason("STATISTICS_MISSING"))
        << heuristic;
  }
  EXPECT_OK(Allocate(table, AverageBitsSpec("optimal", 3), {}));
}

TEST(HeuristicsTest, InOrderIsUniformWhereThatFillsTheBudgetAndSpendsTheRestOnTheFirstLayers) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4)));
  for (const double bits : {2.0, 3.0, 4.0, 8.0}) {
    ASSERT_OK_AND_ASSIGN(const BitPlan uniform, Allocate(table, AverageBitsSpec("uniform", bits), {}));
    ASSERT_OK_AND_ASSIGN(const BitPlan control, Allocate(table, AverageBitsSpec("in-order", bits), {}));
    EXPECT_EQ(control.weight_file_bytes, uniform.weight_file_bytes) << bits;
    EXPECT_EQ(NamesAt(control, static_cast<int>(bits)).size(), control.linears.size()) << bits;
  }
  ASSERT_OK_AND_ASSIGN(const BitPlan uniform, Allocate(table, AverageBitsSpec("uniform", 2.5), {}));
  ASSERT_OK_AND_ASSIGN(const BitPlan control, Allocate(table, AverageBitsSpec("in-order", 2.5), {}));
  EXPECT_EQ(uniform.average_bits, 2.0);
  EXPECT_NEAR(control.average_bits, 2.5, 0.05);
  int last_raised = 0, first_left = 99;
  for (const PlannedLinear& planned : control.linears) {
    EXPECT_TRUE(planned.width == 2 || planned.width == 3) << planned.linear.name;
    if (planned.width == 3) last_raised = std::max(last_raised, planned.linear.layer);
    if (planned.width == 2) first_left = std::min(first_left, planned.linear.layer);
  }
  EXPECT_LE(last_raised, first_left) << "a later layer is raised before an earlier one";
}

TEST(HeuristicsTest, WhatNeedsNoDataIsDecidedByShapes) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  DistortionTable empty = table;
  empty.routing.clear();
  for (PartTable& part : empty.parts) {
    for (DistortionRow& row : part.rows) {
      row.outlier_score = row.wanda_score = 0;
      for (auto& [bits, facts] : row.widths) facts = {};
    }
  }
  for (const Heuristic& heuristic : Heuristics()) {
    if (!heuristic.NeedsNoData({})) continue;
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec(heuristic.name, 3.1), {}));
    ASSERT_OK_AND_ASSIGN(const BitPlan blind, Allocate(empty, AverageBitsSpec(heuristic.name, 3.1), {}));
    EXPECT_EQ(NamesAt(plan, 4), NamesAt(blind, 4)) << heuristic.name;
    EXPECT_EQ(plan.weight_file_bytes, blind.weight_file_bytes) << heuristic.name;
  }
}

TEST(HeuristicsTest, APresetThatIsUnknownOrContradictedIsNamed) {
  JobSpec spec;
  EXPECT_EQ(ApplyPreset("mixtral-best", spec).front().field, "spec.heuristic.preset");
  spec.heuristic = "optimal";
  EXPECT_EQ(ApplyPreset("mixtral-attn4", spec).front().field, "spec.heuristic.name");
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

// Sixteen windows in which layers cost differently.
DistortionTable TableOfWindows() {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4)));
  for (PartTable& part : table.parts) {
    part.loss_scale = 0;
    for (int w = 0; w < 16; ++w) {
      const double scale = w == (3 * part.layer + part.part) % 16 ? 40 : 1 + 0.1 * ((7 * w + part.layer) % 5);
      part.window_scales.push_back(scale);
      part.loss_scale += scale / 16;
    }
    for (DistortionRow& row : part.rows) {
      for (auto& [width, facts] : row.widths) facts.block_error = 1e-3 * facts.distortion;
    }
  }
  return table;
}

RiskOfLosses RiskOf(const DistortionTable& table, const BitPlan& plan, const TailRisk& tail) {
  std::map<std::string, int> width_of;
  for (const PlannedLinear& planned : plan.linears) width_of[planned.linear.name] = planned.width;
  std::vector<double> losses(16);
  for (const TableRow& row : SortRows(table)) AddWindowLosses(row, width_of.at(row.row->linear.name), losses);
  return MeasureRisk(losses, tail);
}

TEST(HeuristicsTest, OptimalWeighsTheWorstWindowsWhereThatIsAsked) {
  const DistortionTable table = TableOfWindows();
  JobSpec spec = AverageBitsSpec("optimal", 2.6);
  ASSERT_OK_AND_ASSIGN(const BitPlan plain, Allocate(table, spec, {}));
  EXPECT_FALSE(plain.risk.has_value());
  for (const double weight : {0.2, 0.5, 1.0}) {
    spec.heuristic_params["tail"] = absl::StrCat(weight);
    ASSERT_OK_AND_ASSIGN(const BitPlan weighed, Allocate(table, spec, {}));
    const TailRisk tail{.weight = weight};
    const RiskOfLosses risk = RiskOf(table, weighed, tail);
    ASSERT_TRUE(weighed.risk.has_value());
    EXPECT_NEAR(weighed.risk->risk, risk.risk, 1e-9 * risk.risk);
    EXPECT_NEAR(weighed.risk->mean, weighed.loss, 1e-9 * weighed.loss) << "the mean is the sum of losses";
    EXPECT_LE(weighed.risk->lower_bound, risk.risk);
    EXPECT_LT(risk.risk, RiskOf(table, plain, tail).risk) << weight;
    EXPECT_LE(plain.loss, weighed.loss) << weight;
  }
}

}  // namespace
}  // namespace quantmoe
