#include "plan/job/plan_step.h"

#include <cmath>
#include <map>
#include <set>

#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

const std::vector<TensorInfo> kKept = {{"lm_head.weight", DType::kBF16, {256, 128}}};
constexpr size_t kWindows = 8;

DistortionTable Table() { return MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4, /*experts=*/8))); }

std::string GroupOf(const Linear& linear) {
  return IsAttention(linear.kind) ? "attention" : IsExpert(linear.kind) ? "experts" : "mlp";
}

// Nats for one unit of loss, which nobody knows beforehand: between 0.1 and 4 thousandths.
double TrueSlope(int layer, const std::string& group) {
  const int place = layer * 3 + (group == "mlp" ? 1 : group == "experts" ? 2 : 0);
  return 1e-4 * std::pow(40.0, (place * 5 % 12) / 11.0);
}

// What a model would measure in every window: losses times true slopes, and a base that differs.
std::vector<double> Measure(const BitPlan& plan) {
  double sum = 0;
  for (const PlannedLinear& planned : plan.linears)
    sum += planned.loss * TrueSlope(planned.linear.layer, GroupOf(planned.linear));
  std::vector<double> windows;
  for (size_t w = 0; w < kWindows; ++w)
    windows.push_back(sum * (0.5 + static_cast<double>(w) / (kWindows - 1)));
  return windows;
}

double Mean(const std::vector<double>& windows) {
  double sum = 0;
  for (const double window : windows) sum += window;
  return sum / static_cast<double>(windows.size());
}

// `plan` with a group of a layer one solved width up or down.
BitPlan Moved(const DistortionTable& table, BitPlan plan, int layer, const std::string& group, bool raised) {
  for (const TableRow& row : SortRows(table)) {
    const Linear& linear = row.row->linear;
    if (linear.layer != layer || GroupOf(linear) != group) continue;
    for (PlannedLinear& planned : plan.linears) {
      if (planned.linear.name != linear.name) continue;
      planned.width = NextWidth(*row.row, planned.width, raised).value_or(planned.width);
      planned.loss = Loss(row, planned.width);
    }
  }
  return plan;
}

MovedGroups ProbeAround(const DistortionTable& table, const BitPlan& plan) {
  MovedGroups moved;
  std::set<std::pair<int, std::string>> places;
  for (const PlannedLinear& planned : plan.linears)
    places.insert({planned.linear.layer, GroupOf(planned.linear)});
  for (const auto& [layer, group] : places) {
    for (const bool raised : {true, false}) {
      const BitPlan other = Moved(table, plan, layer, group, raised);
      if (SameWidths(plan, other)) continue;
      EXPECT_OK(AddMove(layer, MoveName(group, raised), Measure(other), moved));
    }
  }
  return moved;
}

int64_t ChangedBits(const BitPlan& a, const BitPlan& b) {
  int64_t change = 0;
  for (size_t i = 0; i < a.linears.size(); ++i)
    change += std::abs(a.linears[i].width - b.linears[i].width) * a.linears[i].linear.weights();
  return change;
}

absl::StatusOr<PlanStep> StepFrom(const DistortionTable& table, const JobSpec& spec, const BitPlan& plan) {
  return PlanStep::Start(table, spec, kKept, plan, Measure(plan), ProbeAround(table, plan));
}

// The search, on a model that measures what `Measure` says.
BitPlan Search(const DistortionTable& table, const JobSpec& spec, BitPlan plan, int rounds) {
  SearchState state;
  for (int round = 0; round < rounds; ++round) {
    absl::StatusOr<PlanStep> step = StepFrom(table, spec, plan);
    EXPECT_OK(step);
    const std::optional<ProposedPlan> proposed = step->Propose(state.region);
    if (!proposed) break;
    const double measured = Mean(Measure(proposed->plan)) - Mean(Measure(plan));
    state.Learn(proposed->predicted, measured, measured < 0);
    if (measured < 0) plan = proposed->plan;
  }
  return plan;
}

TEST(PlanStepTest, EveryStepKeepsBudgetRulesAndRegion) {
  const DistortionTable table = Table();
  JobSpec bytes = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan size, Allocate(table, bytes, kKept));
  bytes.budget = {};
  bytes.budget.max_bytes = size.weight_file_bytes - 1001;
  JobSpec ranks = bytes;
  ranks.budget = {};
  ranks.budget.rank_bytes = RankBudget{size.weight_file_bytes / 2 + 100000, 2};
  for (JobSpec spec : {AverageBitsSpec("optimal", 2.7), bytes, ranks}) {
    spec.rules = {{"attention", 4, 4, false}, {"model.layers.1.*", 3, 0, false}, {"expert_up", 0, 4, false}};
    ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
    ASSERT_OK_AND_ASSIGN(const PlanStep step, StepFrom(table, spec, start));
    for (const double region : {0.02, 0.1, 1.0}) {
      const std::optional<ProposedPlan> proposed = step.Propose(region);
      ASSERT_TRUE(proposed.has_value()) << region;
      const BitPlan& plan = proposed->plan;
      EXPECT_LT(proposed->predicted, 0);
      EXPECT_FALSE(SameWidths(plan, start));
      if (spec.budget.average_bits) {
        EXPECT_LE(plan.average_bits, *spec.budget.average_bits);
        int64_t weights = 0;
        for (const PlannedLinear& planned : plan.linears) weights += planned.linear.weights();
        EXPECT_LE(static_cast<double>(ChangedBits(start, plan)), region * 2.7 * static_cast<double>(weights));
      }
      if (spec.budget.max_bytes) {
        EXPECT_LE(plan.weight_file_bytes, *spec.budget.max_bytes);
      }
      if (spec.budget.rank_bytes) {
        EXPECT_LE(plan.rank_bytes, spec.budget.rank_bytes->max_bytes);
      }
      for (const PlannedLinear& planned : plan.linears) {
        if (IsAttention(planned.linear.kind)) {
          EXPECT_EQ(planned.width, 4);
        }
        if (planned.linear.layer == 1) {
          EXPECT_GE(planned.width, 3);
        }
        if (planned.linear.kind == LinearKind::kExpertUp) {
          EXPECT_LE(planned.width, 4);
        }
        EXPECT_TRUE(IsSha256(planned.blob.sha256));
      }
    }
  }
}

TEST(PlanStepTest, FusedLinearsStayAlike) {
  const DistortionTable table = Table();
  JobSpec spec = AverageBitsSpec("optimal", 5);
  spec.runtime_profile = "vllm";
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec("uniform", 5), kKept));
  ASSERT_OK_AND_ASSIGN(const PlanStep step, StepFrom(table, spec, start));
  const std::optional<ProposedPlan> proposed = step.Propose(/*region=*/1);
  ASSERT_TRUE(proposed.has_value());
  std::map<std::pair<int, std::string>, std::set<int>> widths;
  for (const PlannedLinear& planned : proposed->plan.linears) {
    const LinearKind kind = planned.linear.kind;
    if (kind == LinearKind::kQuery || kind == LinearKind::kKey || kind == LinearKind::kValue ||
        IsExpert(kind))
      widths[{planned.linear.layer, GroupOf(planned.linear)}].insert(planned.width);
  }
  for (const auto& [group, bits] : widths) EXPECT_EQ(bits.size(), 1u) << group.first << group.second;
}

// From the uniform plan to what an allocation that knows the true slopes gives.
TEST(PlanStepTest, RoundsFindWhatTheLossesGotWrong) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  DistortionTable informed = table;
  for (PartTable& part : informed.parts) part.loss_scale = TrueSlope(part.layer, part.ProbeGroup());
  for (const char* start_by : {"uniform", "optimal"}) {
    ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec(start_by, 3), kKept));
    ASSERT_OK_AND_ASSIGN(BitPlan best, Allocate(informed, spec, kKept));
    for (PlannedLinear& planned : best.linears)  // losses in the units of the table that is searched
      planned.loss /= TrueSlope(planned.linear.layer, GroupOf(planned.linear));
    const double first = Mean(Measure(start)), possible = Mean(Measure(best));
    const double found = Mean(Measure(Search(table, spec, start, /*rounds=*/10)));
    EXPECT_LT(found - possible, 0.1 * (first - possible)) << first << " -> " << found << " of " << possible;
  }
}

// Where a lower width measures better, it is taken, and what it frees is spent elsewhere.
TEST(PlanStepTest, SlopesHaveASign) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec("uniform", 3), kKept));
  MovedGroups moved = ProbeAround(table, start);
  for (auto& [place, group] : moved) {
    if (place.second == "attention" && !group.lowered.empty())
      for (size_t w = 0; w < kWindows; ++w) group.lowered[w] = Measure(start)[w] - 1;
  }
  ASSERT_OK_AND_ASSIGN(const PlanStep step,
                       PlanStep::Start(table, spec, kKept, start, Measure(start), moved));
  const std::optional<ProposedPlan> proposed = step.Propose(/*region=*/1);
  ASSERT_TRUE(proposed.has_value());
  for (const PlannedLinear& planned : proposed->plan.linears) {
    if (IsAttention(planned.linear.kind)) {
      EXPECT_EQ(planned.width, 2) << planned.linear.name;
    }
  }
}

// Layers whose slopes differ by less than their windows do are taken for equal.
TEST(PlanStepTest, NoiseIsNotTakenForADifference) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec("uniform", 3), kKept));
  const std::vector<double> base = Measure(start);
  // One slope for all layers of a kind, but for `difference` of every other one, and windows that differ by
  // `noise` of it.
  const auto proposal = [&](double difference, double noise) {
    MovedGroups moved = ProbeAround(table, start);
    for (auto& [place, group] : moved) {
      for (std::vector<double>* windows : {&group.raised, &group.lowered}) {
        if (windows->empty()) continue;
        const double change = (Mean(*windows) - Mean(base)) * 1e-3 / TrueSlope(place.first, place.second);
        // Of experts there are three layers, whose mean is not 1.
        const double apart = place.second == "experts" ? 0 : place.first % 2 == 0 ? difference : -difference;
        for (size_t w = 0; w < kWindows; ++w)
          (*windows)[w] = base[w] + change * (1 + apart + (w % 2 == 0 ? noise : -noise));
      }
    }
    const auto step = PlanStep::Start(table, spec, kKept, start, base, moved);
    EXPECT_OK(step);
    return step->Propose(/*region=*/1).value().plan;
  };
  const BitPlan equal = proposal(0, 0);
  EXPECT_FALSE(SameWidths(proposal(/*difference=*/0.8, /*noise=*/0.01), equal));
  EXPECT_TRUE(SameWidths(proposal(/*difference=*/0.8, /*noise=*/10), equal));
}

// Experts that no token of the sample reaches change nothing in any window: their slope says nothing of
// others.
TEST(PlanStepTest, AGroupThatNoWindowSeesLeavesTheOthersTheirSlopes) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec("uniform", 3), kKept));
  MovedGroups moved = ProbeAround(table, start);
  ASSERT_OK_AND_ASSIGN(const PlanStep seen,
                       PlanStep::Start(table, spec, kKept, start, Measure(start), moved));
  moved.at({2, "experts"}) = {Measure(start), Measure(start)};
  ASSERT_OK_AND_ASSIGN(const PlanStep unseen,
                       PlanStep::Start(table, spec, kKept, start, Measure(start), moved));
  const double promised = seen.Propose(/*region=*/1).value().predicted;
  const std::optional<ProposedPlan> proposed = unseen.Propose(/*region=*/1);
  ASSERT_TRUE(proposed.has_value());
  EXPECT_LT(proposed->predicted, 0.5 * promised);
}

// Expert 1 of layer 2 makes a massive activation that stays.
std::vector<StreamStatistics> StreamsWithASuperExpert() {
  std::vector<StreamStatistics> streams;
  for (int layer = 0; layer < 4; ++layer) {
    StreamStatistics& stream = streams.emplace_back();
    stream.layer = layer;
    stream.tokens = 1000;
    stream.median_norm = 100;
    stream.largest_norm = layer < 2 ? 300 : 9000;
    stream.massive_tokens = layer < 2 ? 0 : 12;
    stream.expert_peaks.assign(8, 5);
    stream.massive_routed.assign(8, 0);
  }
  streams[2].expert_peaks[1] = 4000;
  streams[2].massive_routed[1] = 12;
  return streams;
}

// A uniform plan gives a super expert what all get: the search may start there, and give it more.
TEST(PlanStepTest, APlanThatProtectsNothingIsAStart) {
  DistortionTable table = Table();
  table.streams = StreamsWithASuperExpert();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan protecting, Allocate(table, spec, kKept));
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, AverageBitsSpec("uniform", 3), kKept));
  ASSERT_EQ(protecting.protection.linears, 1);
  ASSERT_LT(start.protection.bits, protecting.protection.bits);
  ASSERT_OK_AND_ASSIGN(const PlanStep step, StepFrom(table, spec, start));
  EXPECT_TRUE(step.Propose(/*region=*/1).has_value());
}

TEST(PlanStepTest, NothingIsProposedWhereNothingMayMove) {
  const DistortionTable table = Table();
  JobSpec spec = AverageBitsSpec("uniform", 3);
  spec.rules = {{"*", 3, 3, false}};
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, kKept));
  ASSERT_OK_AND_ASSIGN(const PlanStep step, StepFrom(table, spec, plan));
  EXPECT_FALSE(step.Propose(/*region=*/1).has_value());
}

TEST(PlanStepTest, PlansAndMeasurementsOfOthersAreRefused) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(BitPlan plan, Allocate(table, spec, kKept));
  const std::vector<double> windows = Measure(plan);
  EXPECT_FALSE(PlanStep::Start(table, spec, kKept, plan, {1, 2}, ProbeAround(table, plan)).ok());
  MovedGroups moved;
  EXPECT_FALSE(AddMove(0, "turned.experts", windows, moved).ok());
  JobSpec narrow = spec;
  narrow.rules = {{"*", 3, 3, false}};
  EXPECT_FALSE(PlanStep::Start(table, narrow, kKept, plan, windows, {}).ok());
  plan.linears.pop_back();
  EXPECT_FALSE(PlanStep::Start(table, spec, kKept, plan, windows, {}).ok());
}

TEST(SearchStateTest, TheRegionFollowsWhatStepsKeep) {
  SearchState state;
  const double first = state.region;
  state.Learn(/*predicted=*/-1, /*measured=*/-0.9, /*accepted=*/true);
  EXPECT_EQ(state.region, 2 * first);
  state.Learn(-1, -0.5, true);
  EXPECT_EQ(state.region, 2 * first);
  state.Learn(-1, -0.1, true);
  EXPECT_EQ(state.region, first);
  state.Learn(-1, -0.9, /*accepted=*/false);  // the mean is better, the tails are not
  EXPECT_EQ(state.region, first / 2);
  for (int i = 0; i < 100; ++i) state.Learn(-1, 1, false);
  EXPECT_GT(state.region, 0);
  ASSERT_OK_AND_ASSIGN(const SearchState again, SearchStateFromJson(SearchStateToJson(state)));
  EXPECT_EQ(again.region, state.region);
  EXPECT_FALSE(SearchStateFromJson("{}").ok());
}

}  // namespace
}  // namespace quantmoe
