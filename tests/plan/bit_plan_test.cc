#include "plan/bit_plan.h"

#include <algorithm>
#include <map>
#include <random>

#include "plan/artifact_size.h"
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
    bits[planned.linear.name] = planned.bits;
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
  for (const HeuristicDescription& heuristic : Heuristics()) {
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
    EXPECT_LE(plan.lower_bound, plan.distortion);
    // One step of one linear is about 1 % here, and the bound knows headers only to some hundred bytes.
    EXPECT_NEAR(plan.lower_bound, plan.distortion, plan.distortion * 0.05);
    if (less == 0) {
      EXPECT_LE(plan.distortion, free.distortion * (1 + 1e-12));
    }
  }
  for (const HeuristicDescription& heuristic : Heuristics()) {
    ASSERT_OK_AND_ASSIGN(const BitPlan plan,
                         Allocate(table, BytesSpec(heuristic.name, free.weight_file_bytes), kept));
    EXPECT_LE(plan.weight_file_bytes, free.weight_file_bytes) << heuristic.name;
  }
}

TEST(BitPlanTest, TheSmallestPlanFitsExactlyAndOneByteLessDoesNot) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  ASSERT_OK_AND_ASSIGN(const BitPlan smallest, Allocate(table, AverageBitsSpec("optimal", 2), SomeKept()));
  for (const HeuristicDescription& heuristic : Heuristics()) {
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
    for (const HeuristicDescription& heuristic : Heuristics()) {
      for (const double budget : {4.0, 5.1, 6.3, 7.9}) {
        JobSpec spec = AverageBitsSpec(heuristic.name, budget);
        spec.runtime_profile = profile;
        ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, spec, {}));
        std::map<std::string, int> widths;
        for (const PlannedLinear& planned : plan.linears) {
          EXPECT_TRUE(planned.bits == 4 || planned.bits == 8);
          EXPECT_EQ(widths.try_emplace(FusedName(planned.linear, profile), planned.bits).first->second,
                    planned.bits)
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
  plan.linears.front().distortion = 0.1 + 0.2;
  ASSERT_OK_AND_ASSIGN(const BitPlan read, BitPlanFromJson(BitPlanToJson(plan)));
  EXPECT_EQ(BitPlanToJson(read), BitPlanToJson(plan));
  EXPECT_EQ(read.linears.front().distortion, 0.1 + 0.2);
  EXPECT_EQ(read.linears.front().blob, plan.linears.front().blob);
  for (const char* bad : {"", "{}", "[]", "{\"linears\": 3}"}) EXPECT_FALSE(BitPlanFromJson(bad).ok()) << bad;
}

}  // namespace
}  // namespace quantmoe
