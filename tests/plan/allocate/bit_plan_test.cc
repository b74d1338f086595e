#include "plan/allocate/bit_plan.h"

#include <algorithm>
#include <map>
#include <random>

#include "nlohmann/json.hpp"
#include "plan/allocate/artifact_size.h"
#include "plan/allocate/choice_groups.h"
#include "plan/allocate/loss.h"
#include "plan/allocate/width_rules.h"
#include "plan/heuristics/heuristic.h"
#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

std::vector<TensorInfo> SomeKept() {
  return {{"lm_head.weight", DType::kBF16, {256, 128}},
          {"model.embed_tokens.weight", DType::kBF16, {256, 128}},
          {"model.layers.0.input_layernorm.weight", DType::kBF16, {128}},
          {"model.layers.0.self_attn.q_proj.bias", DType::kF32, {128}},
          {"model.layers.2.mlp.gate.weight", DType::kF32, {4, 128}}};
}

JobSpec BytesSpec(const std::string& heuristic, int64_t max_bytes) {
  JobSpec spec = AverageBitsSpec(heuristic, 0);
  spec.budget.average_bits.reset();
  spec.budget.max_bytes = max_bytes;
  return spec;
}

int64_t LaidOutBytes(const BitPlan& plan, const std::vector<TensorInfo>& kept) {
  std::map<std::string, int> bits;
  std::vector<Linear> linears;
  for (const PlannedLinear& planned : plan.linears) {
    bits[planned.linear.name] = planned.width;
    linears.push_back(planned.linear);
  }
  return WeightFileBytes(LayOutWeightFiles(
      linears, kept, [&bits](const Linear& l) { return bits[l.name]; }, plan.group_size));
}

TEST(BitPlanTest, TheSamePlanWhateverTheOrderOfTheTable) {
  // Equal distortions everywhere: only the order of ties decides.
  DistortionTable table =
      MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4, /*experts=*/8)), [](int, int) { return 5; });
  for (PartTable& part : table.parts) {
    for (DistortionRow& row : part.rows) row.widths = {{2, {8, 0}}, {3, {4, 0}}, {4, {2, 0}}, {8, {1, 0}}};
  }
  std::mt19937 random(1);
  for (const Heuristic& heuristic : Heuristics()) {
    const JobSpec spec = AverageBitsSpec(heuristic.name, 3.3);
    ASSERT_OK_AND_ASSIGN(const BitPlan first, Allocate(table, spec, {}));
    for (int i = 0; i < 5; ++i) {
      DistortionTable shuffled = table;
      std::shuffle(shuffled.parts.begin(), shuffled.parts.end(), random);
      for (PartTable& part : shuffled.parts) std::shuffle(part.rows.begin(), part.rows.end(), random);
      std::shuffle(shuffled.routing.begin(), shuffled.routing.end(), random);
      ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(shuffled, spec, {}));
      EXPECT_EQ(BitPlanToJson(plan), BitPlanToJson(first)) << heuristic.name;
    }
  }
}

TEST(BitPlanTest, ABudgetInBytesIsMetToTheByte) {
  const ModelSpec model = ParseOrDie(SmallMoeConfig());
  const DistortionTable table = MakeTable(model);
  const std::vector<TensorInfo> kept = SomeKept();
  ASSERT_OK_AND_ASSIGN(const BitPlan free, Allocate(table, AverageBitsSpec("optimal", 3.4), kept));
  EXPECT_EQ(free.weight_file_bytes, LaidOutBytes(free, kept));
  // Its own size as a budget gives a plan that is no worse; one byte less another one that fits.
  for (const int64_t less : {0, 1, 7, 100, 5000}) {
    const int64_t budget = free.weight_file_bytes - less;
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, BytesSpec("optimal", budget), kept));
    EXPECT_LE(plan.weight_file_bytes, budget);
    EXPECT_EQ(plan.weight_file_bytes, LaidOutBytes(plan, kept));
    EXPECT_GT(plan.lower_bound, 0);
    EXPECT_LE(plan.lower_bound, plan.loss);
    // One step of one linear is about 1 % here, and the bound knows headers only to some hundred bytes.
    EXPECT_NEAR(plan.lower_bound, plan.loss, plan.loss * 0.05);
    if (less == 0) {
      EXPECT_LE(plan.loss, free.loss * (1 + 1e-12));
    }
  }
  for (const Heuristic& heuristic : Heuristics()) {
    ASSERT_OK_AND_ASSIGN(const BitPlan plan,
                         Allocate(table, BytesSpec(heuristic.name, free.weight_file_bytes), kept));
    EXPECT_LE(plan.weight_file_bytes, free.weight_file_bytes) << heuristic.name;
  }
}

TEST(BitPlanTest, TheSmallestPlanFitsExactlyAndOneByteLessDoesNot) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan smallest, Allocate(table, AverageBitsSpec("optimal", 2), SomeKept()));
  for (const Heuristic& heuristic : Heuristics()) {
    EXPECT_OK(Allocate(table, BytesSpec(heuristic.name, smallest.weight_file_bytes), SomeKept()))
        << heuristic.name;
    const absl::StatusOr<BitPlan> none =
        Allocate(table, BytesSpec(heuristic.name, smallest.weight_file_bytes - 1), SomeKept());
    EXPECT_THAT(none, HasReason("BIT_BUDGET_INFEASIBLE"));
    EXPECT_THAT(none, StatusIs(absl::StatusCode::kFailedPrecondition));
    const ErrorInfo info = GetErrorInfo(none.status());
    EXPECT_EQ(info.metadata.at("minimum"), std::to_string(smallest.weight_file_bytes));
    EXPECT_EQ(info.metadata.at("asked"), std::to_string(smallest.weight_file_bytes - 1));
    EXPECT_GT(std::stoll(info.metadata.at("maximum")), smallest.weight_file_bytes);
  }
}

TEST(BitPlanTest, AnAverageBelowTheFloorIsInfeasible) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  EXPECT_THAT(Allocate(table, AverageBitsSpec("optimal", 1.99), {}), HasReason("BIT_BUDGET_INFEASIBLE"));
  JobSpec floor = AverageBitsSpec("attention-first", 2.5);
  floor.heuristic_params["floor"] = "3";
  const absl::StatusOr<BitPlan> plan = Allocate(table, floor, {});
  EXPECT_THAT(plan, HasReason("BIT_BUDGET_INFEASIBLE"));
  EXPECT_EQ(GetErrorInfo(plan.status()).metadata.at("minimum"), "3");
}

TEST(BitPlanTest, ADistortionThatRisesWithTheWidthIsNotBought) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (PartTable& part : table.parts) {
    for (DistortionRow& row : part.rows) row.widths[8].distortion = row.widths[2].distortion * 2;
  }
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("optimal", 8), {}));
  EXPECT_EQ(plan.average_bits, 4.0);
}

// Linears that must have one width under a profile, by a name that they share.
std::string FusedName(const Linear& linear, const std::string& profile) {
  const std::string layer = std::to_string(linear.layer) + ".";
  if (IsExpert(linear.kind)) return profile == "sglang" ? "experts" : layer + "experts";
  if (linear.kind <= LinearKind::kValue) return layer + "qkv";
  if (linear.kind == LinearKind::kDenseGate || linear.kind == LinearKind::kDenseUp) return layer + "dense";
  if (linear.kind == LinearKind::kSharedGate || linear.kind == LinearKind::kSharedUp) return layer + "shared";
  return linear.name;
}

TEST(BitPlanTest, ServingProfilesHoldForEveryHeuristic) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/5)));
  for (const std::string profile : {"vllm", "sglang"}) {
    for (const Heuristic& heuristic : Heuristics()) {
      for (const double budget : {4.0, 5.1, 6.3, 7.9}) {
        JobSpec spec = AverageBitsSpec(heuristic.name, budget);
        spec.runtime_profile = profile;
        ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
        std::map<std::string, int> widths;
        for (const PlannedLinear& planned : plan.linears) {
          EXPECT_TRUE(planned.width == 4 || planned.width == 8);
          EXPECT_EQ(widths.try_emplace(FusedName(planned.linear, profile), planned.width).first->second,
                    planned.width)
              << heuristic.name << " " << planned.linear.name;
        }
        EXPECT_LE(plan.average_bits, budget);
      }
    }
    JobSpec low = AverageBitsSpec("optimal", 3);
    low.runtime_profile = profile;
    EXPECT_THAT(Allocate(table, low, {}), HasReason("BIT_BUDGET_INFEASIBLE"));
  }
}

TEST(BitPlanTest, TheCostOfAProfileIsWhatFreedomWouldGive) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/5)));
  for (const double budget : {4.0, 5.1, 6.3}) {
    JobSpec spec = AverageBitsSpec("optimal", budget);
    ASSERT_OK_AND_ASSIGN(const BitPlan free, Allocate(table, spec, {}));
    EXPECT_EQ(free.unconstrained_loss, 0);
    spec.runtime_profile = "vllm";
    ASSERT_OK_AND_ASSIGN(const BitPlan bound, Allocate(table, spec, {}));
    EXPECT_EQ(bound.unconstrained_loss, free.loss);
    EXPECT_GE(bound.loss, free.loss);
  }
}

TEST(BitPlanTest, ABudgetOfStoredBitsCountsScales) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (const double budget : {3.5, 4.0, 5.5}) {
    JobSpec spec = AverageBitsSpec("optimal", 0);
    spec.budget = {};
    spec.budget.stored_bits = budget;
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
    EXPECT_LE(plan.stored_bits, budget);
    EXPECT_GT(plan.stored_bits, budget - 0.05);
    EXPECT_EQ(plan.lower_bound, plan.loss);
  }
  JobSpec low = AverageBitsSpec("optimal", 0);
  low.budget = {};
  low.budget.stored_bits = 2.0;
  EXPECT_THAT(Allocate(table, low, {}), HasReason("BIT_BUDGET_INFEASIBLE"));
}

// Tensor bytes of each rank, added up the plain way.
std::vector<int64_t> RankBytes(const BitPlan& plan, const std::vector<TensorInfo>& kept, int experts,
                               int ranks) {
  std::vector<int64_t> bytes(ranks, 0);
  for (const PlannedLinear& planned : plan.linears) {
    for (const TensorInfo& tensor : PackedTensors(planned.linear, planned.width, plan.group_size)) {
      for (int rank = 0; rank < ranks; ++rank) {
        const bool here = planned.linear.expert < 0 || planned.linear.expert / (experts / ranks) == rank;
        if (here) bytes[rank] += tensor.data_bytes();
      }
    }
  }
  for (const TensorInfo& tensor : kept) {
    for (int64_t& rank : bytes) rank += tensor.data_bytes();
  }
  return bytes;
}

TEST(BitPlanTest, NoExpertParallelRankExceedsItsBytes) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4, /*experts=*/8)));
  const std::vector<TensorInfo> kept = SomeKept();
  for (const std::string profile : {"any", "vllm"}) {
    for (const int ranks : {1, 2, 4}) {
      for (const Heuristic& heuristic : Heuristics()) {
        JobSpec spec = AverageBitsSpec(heuristic.name, 0);
        spec.runtime_profile = profile;
        spec.budget = {};
        spec.budget.rank_bytes = {700'000 / ranks + 400'000, ranks};
        ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, kept));
        const std::vector<int64_t> bytes = RankBytes(plan, kept, 8, ranks);
        EXPECT_EQ(plan.rank_bytes, *std::max_element(bytes.begin(), bytes.end())) << heuristic.name;
        EXPECT_LE(plan.rank_bytes, spec.budget.rank_bytes->max_bytes) << heuristic.name;
        if (heuristic.name != "optimal") continue;
        EXPECT_GT(plan.lower_bound, 0);
        EXPECT_LE(plan.lower_bound, plan.loss);
        EXPECT_GT(plan.lower_bound, 0.8 * plan.loss) << ranks;
      }
    }
  }
  JobSpec odd = AverageBitsSpec("optimal", 0);
  odd.budget = {};
  odd.budget.rank_bytes = {1 << 30, 3};
  const absl::StatusOr<BitPlan> plan = Allocate(table, odd, kept);
  ASSERT_THAT(plan, HasReason("INVALID_FIELD"));
  EXPECT_EQ(GetErrorInfo(plan.status()).violations.front().field, "spec.budget.rank_bytes.ranks");
}

TEST(BitPlanTest, RulesHoldForEveryHeuristicAndProfile) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/4)));
  for (const std::string profile : {"gptqmodel", "vllm"}) {
    for (const Heuristic& heuristic : Heuristics()) {
      JobSpec spec = AverageBitsSpec(heuristic.name, 6.0);
      spec.runtime_profile = profile;
      spec.rules = {
          {"attention", 8, 8}, {"model.layers.0.*", 4, 0}, {"expert_down", 0, 4}, {"shared", 0, 0, true}};
      ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
      EXPECT_LE(plan.average_bits, 6.0);
      for (const PlannedLinear& planned : plan.linears) {
        const LinearKind kind = planned.linear.kind;
        const bool shared = kind >= LinearKind::kSharedGate && kind <= LinearKind::kSharedDown;
        const bool protect = IsAttention(kind) || shared;
        EXPECT_TRUE(!protect || planned.width == 8) << planned.linear.name;
        EXPECT_TRUE(planned.linear.layer != 0 || planned.width >= 4) << planned.linear.name;
        EXPECT_TRUE(kind != LinearKind::kExpertDown || planned.width <= 4) << planned.linear.name;
      }
    }
  }
}

// Every plan of a tiny model, by counting through all choices.
double BestByCounting(const DistortionTable& table, const std::vector<WidthRule>& rules, double budget) {
  std::vector<const DistortionRow*> rows;
  for (const PartTable& part : table.parts) {
    for (const DistortionRow& row : part.rows) rows.push_back(&row);
  }
  const std::vector<int> widths = {2, 4};
  double best = 1e300;
  for (uint32_t choice = 0; choice < (1u << rows.size()); ++choice) {
    double loss = 0, bits = 0, weights = 0;
    bool allowed = true;
    for (size_t r = 0; r < rows.size(); ++r) {
      const int width = widths[choice >> r & 1];
      for (const WidthRule& rule : rules) {
        if (!MatchesPattern(rule.pattern, rows[r]->linear)) continue;
        allowed = allowed && width >= rule.min_bits && (rule.max_bits == 0 || width <= rule.max_bits);
      }
      loss += rows[r]->widths.at(width).distortion;
      bits += static_cast<double>(width * rows[r]->linear.weights());
      weights += static_cast<double>(rows[r]->linear.weights());
    }
    if (allowed && bits / weights <= budget) best = std::min(best, loss);
  }
  return best;
}

TEST(BitPlanTest, OptimalUnderRulesIsTheBestOfAllPlans) {
  const DistortionTable table =
      MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/2, /*experts=*/2)));  // 17 linears
  const std::vector<WidthRule> rules = {{"query", 4, 4}, {"*.experts.1.*", 0, 2}, {"dense_up", 4, 0}};
  for (const double budget : {2.6, 2.9, 3.3}) {
    JobSpec spec = AverageBitsSpec("optimal", budget);
    spec.gptq.widths = {2, 4};
    spec.rules = rules;
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
    EXPECT_NEAR(plan.loss, BestByCounting(table, rules, budget), 1e-9);
  }
}

TEST(BitPlanTest, RulesThatCannotHoldAreNamed) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  const auto violation = [&table](std::vector<WidthRule> rules, const std::string& profile = "any") {
    JobSpec spec = AverageBitsSpec("optimal", 6);
    spec.runtime_profile = profile;
    spec.rules = std::move(rules);
    const absl::StatusOr<BitPlan> plan = Allocate(table, spec, {});
    EXPECT_THAT(plan, HasReason("INVALID_FIELD"));
    return plan.ok() ? FieldViolation{} : GetErrorInfo(plan.status()).violations.front();
  };
  EXPECT_EQ(violation({{"*.q_proj", 2, 0}, {"*.w9", 4, 4}}).field, "spec.rules[1].pattern");
  EXPECT_THAT(violation({{"*.w9", 4, 4}}).description, testing::HasSubstr("\"*.w9\" matches no linear"));
  EXPECT_THAT(violation({{"attention", 8, 8}, {"query", 0, 4}}).description,
              testing::AllOf(testing::HasSubstr("at least 8"), testing::HasSubstr("rules[1]")));
  EXPECT_THAT(violation({{"query", 5, 7}}).description, testing::HasSubstr("leaves no width"));
  EXPECT_EQ(violation({{"query", 8, 8}, {"key", 4, 4}}, "vllm").field, "spec.rules");
  EXPECT_EQ(violation({{"", 8, 8}}).field, "spec.rules[0].pattern");
  EXPECT_EQ(violation({{"query", 0, 0}}).field, "spec.rules[0]");
  EXPECT_EQ(violation({{"query", 8, 4}}).field, "spec.rules[0]");
  EXPECT_EQ(violation({{"query", 0, 9}}).field, "spec.rules[0].max_bits");
  JobSpec dear = AverageBitsSpec("optimal", 3);
  dear.rules = {{"experts", 8, 8}};
  EXPECT_THAT(Allocate(table, dear, {}), HasReason("BIT_BUDGET_INFEASIBLE"));
}

TEST(BitPlanTest, PatternsAreKindsClassesOrGlobs) {
  const Linear linear{"model.layers.3.mlp.experts.12.down_proj", 3, LinearKind::kExpertDown, 12, 64, 64};
  for (const char* pattern : {"experts", "expert_down", "*", "*.down_proj", "model.layers.3.*",
                              "*.experts.1?.*", "model.layers.3.mlp.experts.12.down_proj"}) {
    EXPECT_TRUE(MatchesPattern(pattern, linear)) << pattern;
  }
  for (const char* pattern :
       {"shared", "expert_up", "", "*.down", "model.layers.30.*", "*.experts.2?.*", "down_proj"}) {
    EXPECT_FALSE(MatchesPattern(pattern, linear)) << pattern;
  }
}

TEST(BitPlanTest, TheObjectiveDecidesWhatIsMinimised) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  int n = 0;
  for (PartTable& part : table.parts) {
    part.loss_scale = 1 + part.layer;
    for (DistortionRow& row : part.rows) {
      for (auto& [bits, facts] : row.widths) {
        facts.block_error = facts.distortion * (1 + (n * 7) % 5);
        facts.gate_distortion = facts.distortion * (1 + (n * 3) % 4);
      }
      ++n;
    }
  }
  std::map<std::string, BitPlan> plans;
  for (const std::string objective : {"measured", "block", "distortion", "gate"}) {
    JobSpec spec = AverageBitsSpec("optimal", 3.1);
    spec.heuristic_params["objective"] = objective;
    ASSERT_OK_AND_ASSIGN(plans[objective], Allocate(table, spec, {}));
    EXPECT_EQ(plans[objective].objective, objective);
  }
  // Each plan is the best by its own measure.
  for (const auto& [objective, plan] : plans) {
    for (const auto& [other, other_plan] : plans) {
      double loss = 0;
      const std::vector<TableRow> rows = SortRows(table);
      for (size_t r = 0; r < rows.size(); ++r) {
        loss += Loss(rows[r], other_plan.linears[r].width, ParseObjective(objective));
      }
      EXPECT_LE(plan.loss, loss * (1 + 1e-12)) << objective << " against " << other;
    }
  }
}

TEST(BitPlanTest, TooManyFallbacksStopTheJob) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (DistortionRow& row : table.parts.back().rows) row.fallback = "no_tokens";
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.gptq.max_fallback_ratio = 0.9;
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
  EXPECT_GT(plan.fallback_ratio, 0.1);
  spec.gptq.max_fallback_ratio = 0.1;
  EXPECT_THAT(Allocate(table, spec, {}), HasReason("TOO_MANY_FALLBACKS"));
}

TEST(BitPlanTest, StoredBitsAreTheFormula) {
  const DistortionTable table = MakeTable(ParseOrDie(MixtralConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("uniform", 2), {}));
  EXPECT_EQ(plan.group_size, 128);
  EXPECT_NEAR(plan.stored_bits, 2 + (16 + 2) / 128.0, 0.01);  // and 32/out for g_idx
  EXPECT_NEAR(static_cast<double>(plan.weight_file_bytes), plan.stored_bits / 8 * 46.44e9, 0.01e9);
}

TEST(BitPlanTest, BadTablesAndQuestionsAreRefused) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  EXPECT_FALSE(Allocate({}, AverageBitsSpec("optimal", 3), {}).ok());
  EXPECT_THAT(Allocate(table, AverageBitsSpec("magic", 3), {}), HasReason("INVALID_FIELD"));
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.gptq.group_size = 128;
  EXPECT_THAT(Allocate(table, spec, {}), HasReason("INVALID_FIELD")) << "experts are 64 wide";
  spec = AverageBitsSpec("optimal", 3);
  spec.budget.max_bytes = 1 << 20;
  EXPECT_THAT(Allocate(table, spec, {}), HasReason("INVALID_FIELD"));
  DistortionTable twice = table;
  twice.parts.push_back(twice.parts.front());
  EXPECT_FALSE(Allocate(twice, AverageBitsSpec("optimal", 3), {}).ok());
  DistortionTable hole = table;
  hole.parts.front().rows.back().widths.erase(3);
  EXPECT_FALSE(Allocate(hole, AverageBitsSpec("optimal", 3), {}).ok());
}

TEST(BitPlanTest, JsonRoundTrips) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(BitPlan plan, Allocate(table, AverageBitsSpec("optimal", 3.3), SomeKept()));
  plan.linears.front().loss = 0.1 + 0.2;
  ASSERT_OK_AND_ASSIGN(const BitPlan read, BitPlanFromJson(BitPlanToJson(plan)));
  EXPECT_EQ(BitPlanToJson(read), BitPlanToJson(plan));
  EXPECT_EQ(read.linears.front().loss, 0.1 + 0.2);
  EXPECT_EQ(read.linears.front().blob, plan.linears.front().blob);
  for (const char* bad : {"", "{}", "[]", "{\"linears\": 3}"}) EXPECT_FALSE(BitPlanFromJson(bad).ok()) << bad;
}

TEST(BitPlanTest, NumbersThatDoNotFitAreRefusedAndNotCut) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, AverageBitsSpec("optimal", 3.3), SomeKept()));
  nlohmann::json json = nlohmann::json::parse(BitPlanToJson(plan));
  for (const nlohmann::json& bits :
       {nlohmann::json((int64_t{1} << 32) + 2), nlohmann::json(1e300), nlohmann::json(2.5)}) {
    json["linears"][0]["bits"] = bits;
    EXPECT_FALSE(BitPlanFromJson(json.dump()).ok()) << bits;
  }
}

}  // namespace
}  // namespace quantmoe
