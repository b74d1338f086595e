#include "plan/allocate/super_experts.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::FieldsAre;
using testing::IsEmpty;

// Eight layers of four experts whose outputs stay below 10.
std::vector<StreamStatistics> CalmStreams(int layers = 8) {
  std::vector<StreamStatistics> streams;
  for (int l = 0; l < layers; ++l) {
    StreamStatistics& stream = streams.emplace_back();
    stream.layer = l;
    stream.tokens = 1000;
    stream.median_norm = 100;
    stream.largest_norm = 300;
    stream.expert_peaks = {5, 6, 7, 8};
    stream.massive_routed = {0, 0, 0, 0};
  }
  return streams;
}

// Experts 1 and 3 of layer 2 make a massive activation that stays.
std::vector<StreamStatistics> Streams() {
  std::vector<StreamStatistics> streams = CalmStreams();
  for (size_t l = 2; l < streams.size(); ++l) {
    streams[l].largest_norm = 9000;
    streams[l].massive_tokens = 12;
    streams[l].massive_starts = 12;
  }
  streams[2].expert_peaks = {6, 4000, 7, 2500};
  streams[2].massive_routed = {0, 12, 3, 9};
  return streams;
}

TEST(SuperExpertsTest, AreThoseWhoseOutputStandsOut) {
  EXPECT_THAT(FindSuperExperts(Streams()), ElementsAre(FieldsAre(2, 1, 4000, 12), FieldsAre(2, 3, 2500, 9)));
}

TEST(SuperExpertsTest, ThereAreNoneWithoutMassiveTokens) {
  EXPECT_THAT(FindSuperExperts({}), IsEmpty());
  EXPECT_THAT(FindSuperExperts(CalmStreams()), IsEmpty());
  std::vector<StreamStatistics> streams = Streams();
  for (StreamStatistics& stream : streams) stream.massive_tokens = 0;
  EXPECT_THAT(FindSuperExperts(streams), IsEmpty());
}

TEST(SuperExpertsTest, ALayerThatTakesTheActivationBackHasNone) {
  std::vector<StreamStatistics> streams = Streams();
  streams[6].expert_peaks = {4000, 6, 7, 8};
  streams[6].largest_norm = 3000;
  EXPECT_THAT(FindSuperExperts(streams), ElementsAre(FieldsAre(2, 1, 4000, 12), FieldsAre(2, 3, 2500, 9)));
}

TEST(SuperExpertsTest, ADenseMlpCanBeOne) {
  std::vector<StreamStatistics> streams = CalmStreams();
  streams[0].expert_peaks.clear();
  streams[0].mlp_peak = 3000;
  streams[0].massive_tokens = 4;
  streams[0].largest_norm = 9000;
  EXPECT_THAT(FindSuperExperts(streams), ElementsAre(FieldsAre(0, -1, 3000, 4)));
}

TEST(SuperExpertsTest, ShardsAddUp) {
  StreamStatistics sum;
  StreamStatistics shard = Streams()[2];
  shard.sink_share = 0.5;
  AddShard(shard, sum);
  shard.tokens = 3000;
  shard.median_norm = 200;
  shard.expert_peaks = {1, 5000, 0, 0};
  shard.sink_share = 0.4;
  shard.sink_position = 7;
  AddShard(shard, sum);
  EXPECT_EQ(sum.tokens, 4000);
  EXPECT_DOUBLE_EQ(sum.median_norm, 175);
  EXPECT_EQ(sum.massive_tokens, 24);
  EXPECT_THAT(sum.expert_peaks, ElementsAre(6, 5000, 7, 2500));
  EXPECT_THAT(sum.massive_routed, ElementsAre(0, 24, 6, 18));
  EXPECT_EQ(sum.sink_share, 0.5);
  EXPECT_EQ(sum.sink_position, 0);
  ASSERT_OK_AND_ASSIGN(const StreamStatistics read,
                       StreamStatisticsFromJson(StreamStatisticsJson(sum).dump()));
  EXPECT_EQ(StreamStatisticsJson(read), StreamStatisticsJson(sum));
}

// A model of eight layers whose experts 1 and 3 of layer 2 are super experts.
class ProtectionTest : public ::testing::Test {
 protected:
  ProtectionTest() { table_.streams = Streams(); }

  BitPlan PlanOf(const JobSpec& spec) const {
    const absl::StatusOr<BitPlan> plan = Allocate(table_, spec, {});
    EXPECT_OK(plan);
    return plan.value_or(BitPlan{});
  }

  static std::vector<int> WidthsOf(const BitPlan& plan, const std::vector<SuperExpert>& experts) {
    std::vector<int> widths;
    for (const PlannedLinear& planned : plan.linears) {
      if (MakesMassive(planned.linear, experts)) widths.push_back(planned.width);
    }
    return widths;
  }
  std::vector<int> WidthsOf(const BitPlan& plan) const { return WidthsOf(plan, FindSuperExperts(Streams())); }

  DistortionTable table_ = MakeTable(ParseOrDie(SmallMoeConfig(/*layers=*/8)));
};

TEST_F(ProtectionTest, KeepsTheirDownProjectionsWholeUnderEveryHeuristic) {
  for (const char* heuristic : {"optimal", "expert-frequency", "first-blocks", "random"}) {
    JobSpec spec = AverageBitsSpec(heuristic, 3);
    const BitPlan plan = PlanOf(spec);
    EXPECT_THAT(WidthsOf(plan), ElementsAre(8, 8)) << heuristic;
    EXPECT_LE(plan.average_bits, 3) << heuristic;
    EXPECT_EQ(plan.protection.linears, 2) << heuristic;
    EXPECT_NEAR(plan.protection.bits, 8 * plan.protection.weights_share, 1e-12) << heuristic;
    spec.protect_super_experts = false;
    EXPECT_EQ(PlanOf(spec).protection, PlanProtection{}) << heuristic;
  }
}

TEST_F(ProtectionTest, TakesOnlyWhatAUniformPlanLeaves) {
  EXPECT_THAT(WidthsOf(PlanOf(AverageBitsSpec("uniform", 3))), ElementsAre(3, 3));
  const BitPlan plan = PlanOf(AverageBitsSpec("uniform", 3.2));
  EXPECT_THAT(WidthsOf(plan), ElementsAre(8, 8));
  for (const PlannedLinear& planned : plan.linears) EXPECT_GE(planned.width, 3);
}

TEST_F(ProtectionTest, TakesATenthOfTheRoomAtMost) {
  const BitPlan plan = PlanOf(AverageBitsSpec("optimal", 2.1));
  EXPECT_LT(WidthsOf(plan).front(), 8);
  EXPECT_LE(plan.average_bits, 2.1);
}

TEST_F(ProtectionTest, ARuleNamesThemAndCanOnlyProtectThem) {
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.protect_super_experts = false;
  spec.rules = {{"super-experts", 0, 0, true}};
  EXPECT_THAT(WidthsOf(PlanOf(spec)), ElementsAre(8, 8));
  spec.rules = {{"super-experts", 4, 0, false}};
  EXPECT_THAT(Allocate(table_, spec, {}), HasReason("INVALID_FIELD"));
}

TEST_F(ProtectionTest, ARuleThatPinsThemWins) {
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.rules = {{"expert_down", 0, 4, false}};
  EXPECT_THAT(WidthsOf(PlanOf(spec)), ElementsAre(4, 4));
}

}  // namespace
}  // namespace quantmoe
