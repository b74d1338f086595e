#include "plan/job/plan_search.h"

#include <cmath>
#include <map>
#include <set>

#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

const std::vector<TensorInfo> kKept = {{"lm_head.weight", DType::kBF16, {256, 128}}};

DistortionTable Table() { return MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4, /*experts=*/8))); }

// What a plan would measure if predicted losses were wrong by a factor for each layer and kind.
double Truth(const BitPlan& plan) {
  double sum = 0;
  for (const PlannedLinear& planned : plan.linears) {
    const int stratum = planned.linear.layer * 31 + static_cast<int>(planned.linear.kind) * 17;
    sum += planned.loss * std::pow(4.0, (stratum % 7 - 3) / 3.0);
  }
  return sum / 1000;
}

std::map<std::string, int> WidthsOf(const BitPlan& plan) {
  std::map<std::string, int> widths;
  for (const PlannedLinear& planned : plan.linears) widths[planned.linear.name] = planned.width;
  return widths;
}

// Measures `trials` plans and returns the best one; every proposal goes through `check`.
BitPlan Search(
    const DistortionTable& table, const JobSpec& spec, BitPlan plan, int trials, SearchState& state,
    const std::function<void(const BitPlan&)>& check = [](const BitPlan&) {}) {
  absl::StatusOr<PlanSearch> search = PlanSearch::Start(table, spec, kKept, plan, Truth(plan), state, {});
  EXPECT_OK(search);
  for (int i = 0; i < trials; ++i) {
    const std::optional<BitPlan> trial = search->Propose();
    if (!trial) break;
    check(*trial);
    const bool better = Truth(*trial) < Truth(plan);
    EXPECT_EQ(search->Learn(Truth(*trial)), better);
    if (better) plan = *trial;
    EXPECT_DOUBLE_EQ(search->divergence(), Truth(plan));
  }
  state = search->state();
  return plan;
}

TEST(PlanSearchTest, EveryProposalIsNewAndKeepsBudgetAndRules) {
  const DistortionTable table = Table();
  JobSpec bytes = AverageBitsSpec("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan size, Allocate(table, bytes, kKept));
  bytes.budget = {};
  bytes.budget.max_bytes = size.weight_file_bytes - 1001;
  JobSpec ranks = bytes;
  ranks.budget = {};
  ranks.budget.rank_bytes = RankBudget{size.weight_file_bytes / 2 + 100000, 2};
  for (JobSpec spec : {AverageBitsSpec("expert-frequency", 2.7), bytes, ranks}) {
    spec.rules = {{"attention", 4, 4, false}, {"model.layers.1.*", 3, 0, false}, {"expert_up", 0, 4, false}};
    ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
    std::set<std::map<std::string, int>> seen = {WidthsOf(start)};
    SearchState state;
    Search(table, spec, start, 24, state, [&](const BitPlan& plan) {
      EXPECT_TRUE(seen.insert(WidthsOf(plan)).second);
      if (spec.budget.average_bits) {
        EXPECT_LE(plan.average_bits, *spec.budget.average_bits);
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
    });
    EXPECT_GT(seen.size(), 10u);
  }
}

TEST(PlanSearchTest, FusedLinearsStayAlike) {
  const DistortionTable table = Table();
  JobSpec spec = AverageBitsSpec("optimal", 5);
  spec.runtime_profile = "vllm";
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
  SearchState state;
  Search(table, spec, start, 8, state, [](const BitPlan& plan) {
    std::map<std::pair<int, bool>, std::set<int>> widths;
    for (const PlannedLinear& planned : plan.linears) {
      const LinearKind kind = planned.linear.kind;
      if (kind == LinearKind::kQuery || kind == LinearKind::kKey || kind == LinearKind::kValue)
        widths[{planned.linear.layer, true}].insert(planned.width);
      if (IsExpert(kind)) widths[{planned.linear.layer, false}].insert(planned.width);
    }
    for (const auto& [group, bits] : widths) EXPECT_EQ(bits.size(), 1u);
  });
}

TEST(PlanSearchTest, FindsWhatThePredictionGotWrong) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 2.7);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
  SearchState state;
  const BitPlan found = Search(table, spec, start, 96, state);
  // The best that knowing the factors would give.
  DistortionTable informed = table;
  for (PartTable& part : informed.parts) {
    for (DistortionRow& row : part.rows) {
      const int stratum = row.linear.layer * 31 + static_cast<int>(row.linear.kind) * 17;
      for (auto& [bits, facts] : row.widths) facts.distortion *= std::pow(4.0, (stratum % 7 - 3) / 3.0);
    }
  }
  ASSERT_OK_AND_ASSIGN(const BitPlan best, Allocate(informed, spec, kKept));
  const double possible = best.loss / 1000;
  EXPECT_LT(Truth(found) - possible, 0.4 * (Truth(start) - possible))
      << Truth(start) << " -> " << Truth(found) << ", at best " << possible;
}

TEST(PlanSearchTest, RoundsGoOnWhereTheLastOneEnded) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("optimal", 2.7);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
  SearchState once, twice;
  const BitPlan whole = Search(table, spec, start, 12, once);
  const BitPlan half = Search(table, spec, start, 5, twice);
  ASSERT_OK_AND_ASSIGN(twice, SearchStateFromJson(SearchStateToJson(twice)));
  EXPECT_EQ(WidthsOf(Search(table, spec, half, 7, twice)), WidthsOf(whole));
  EXPECT_EQ(SearchStateToJson(once), SearchStateToJson(twice));
  EXPECT_FALSE(SearchStateFromJson("{}").ok());
}

TEST(PlanSearchTest, ARivalIsMeasuredFirstIfItFits) {
  const DistortionTable table = Table();
  const JobSpec spec = AverageBitsSpec("attention-first", 3);
  ASSERT_OK_AND_ASSIGN(const BitPlan start, Allocate(table, spec, kKept));
  ASSERT_OK_AND_ASSIGN(const BitPlan rival, Allocate(table, AverageBitsSpec("uniform", 3), kKept));
  ASSERT_OK_AND_ASSIGN(const BitPlan large, Allocate(table, AverageBitsSpec("uniform", 4), kKept));
  ASSERT_OK_AND_ASSIGN(PlanSearch search,
                       PlanSearch::Start(table, spec, kKept, start, 1.0, {}, {large, rival}));
  const std::optional<BitPlan> first = search.Propose();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(WidthsOf(*first), WidthsOf(rival));
  EXPECT_TRUE(search.Learn(0.5));
  EXPECT_EQ(search.divergence(), 0.5);
}

TEST(PlanSearchTest, EndsWhenNothingIsLeftAndRefusesForeignPlans) {
  const DistortionTable table = Table();
  JobSpec spec = AverageBitsSpec("uniform", 3);
  spec.rules = {{"*", 3, 3, false}};
  ASSERT_OK_AND_ASSIGN(BitPlan plan, Allocate(table, spec, kKept));
  ASSERT_OK_AND_ASSIGN(PlanSearch search, PlanSearch::Start(table, spec, kKept, plan, 1.0, {}, {}));
  EXPECT_FALSE(search.Propose().has_value());
  plan.linears.pop_back();
  EXPECT_FALSE(PlanSearch::Start(table, spec, kKept, plan, 1.0, {}, {}).ok());
}

}  // namespace
}  // namespace quantmoe
