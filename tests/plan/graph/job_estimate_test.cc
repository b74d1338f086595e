#include "plan/graph/job_estimate.h"

#include "plan/allocate/bit_plan.h"
#include "plan/job/job_allocation.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

const std::vector<TensorInfo> kKept = {{"lm_head.weight", DType::kBF16, {256, 128}}};

ResolvedJob JobFor(const std::string& heuristic, double bits) {
  ResolvedJob job;
  job.spec = AverageBitsSpec(heuristic, bits);
  job.spec.gptq.group_size = 64;
  job.spec.gptq.widths = {2, 3, 4, 8};
  job.spec.calibration = {{std::string(64, 'a'), 1 << 20}, 16, 256, 8};
  job.spec.evaluation.perplexity_text = {std::string(64, 'b'), 1 << 20};
  job.spec.evaluation.window = 256;
  job.model = ParseOrDie(SmallMoeConfig());
  job.parts = CutParts(job.model);
  job.sizes = BoundSizes(ListLinears(job.model), kKept, job.spec.gptq.widths, 64);
  job.kept = kKept;
  job.original_bytes = 1 << 20;
  return job;
}

TEST(JobEstimateTest, SizesAreExactWhereShapesDecide) {
  const DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  for (const char* heuristic : {"uniform", "attention-first", "first-blocks", "projection", "random"}) {
    ResolvedJob job = JobFor(heuristic, 3.2);
    ASSERT_OK_AND_ASSIGN(JobEstimate estimate, EstimateNeeds(job));
    EXPECT_FALSE(estimate.bytes_exact) << "what is protected is to be measured";
    job.spec.protect_super_experts = false;
    ASSERT_OK_AND_ASSIGN(estimate, EstimateNeeds(job));
    ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, job.spec, kKept));
    EXPECT_TRUE(estimate.bytes_exact);
    EXPECT_EQ(estimate.predicted_bytes, plan.weight_file_bytes) << heuristic;
  }
  const ResolvedJob job = JobFor("optimal", 3.2);
  ASSERT_OK_AND_ASSIGN(const JobEstimate estimate, EstimateNeeds(job));
  ASSERT_OK_AND_ASSIGN(const BitPlan plan, Allocate(table, job.spec, kKept));
  EXPECT_FALSE(estimate.bytes_exact);
  EXPECT_NEAR(static_cast<double>(estimate.predicted_bytes), static_cast<double>(plan.weight_file_bytes),
              6000);
}

TEST(JobEstimateTest, TasksMemoryAndWorkAreThoseOfTheGraph) {
  const ResolvedJob job = JobFor("optimal", 3);
  ASSERT_OK_AND_ASSIGN(const JobEstimate estimate, EstimateNeeds(job));
  EXPECT_EQ(estimate.calibration_tokens, 16 * 256);
  EXPECT_EQ(estimate.tokens_per_expert, 16 * 256 * 2 / 4);
  EXPECT_EQ(estimate.stages.at(TaskKind::kForward).tasks, 3 * 2 + 3)
      << "two shards, and the sample of the probes";
  EXPECT_EQ(estimate.stages.at(TaskKind::kSolve).tasks, static_cast<int>(job.parts.size()));
  EXPECT_EQ(estimate.stages.at(TaskKind::kEvaluate).tasks, 3 * ((1 << 20) / 4 / 32768));
  for (const auto& [kind, stage] : estimate.stages) EXPECT_GT(stage.work, 0) << TaskKindName(kind);
  EXPECT_GT(estimate.worker_memory_bytes, 0);
  EXPECT_THAT(estimate.warnings, testing::IsEmpty());
}

TEST(JobEstimateTest, TooFewTokensAreToldBeforeTheWork) {
  ResolvedJob job = JobFor("optimal", 3);
  job.spec.calibration.samples = 1;
  job.spec.calibration.sequence_length = 128;
  ASSERT_OK_AND_ASSIGN(JobEstimate estimate, EstimateNeeds(job));
  EXPECT_THAT(estimate.warnings, testing::ElementsAre(testing::HasSubstr("not full rank")));
  job.spec.calibration.sequence_length = 32;
  ASSERT_OK_AND_ASSIGN(estimate, EstimateNeeds(job));
  EXPECT_THAT(estimate.warnings, testing::ElementsAre(testing::HasSubstr("rounded instead of solved")));
  job = JobFor("optimal", 3);
  job.spec.calibration.text.size_bytes = 4096;
  ASSERT_OK_AND_ASSIGN(estimate, EstimateNeeds(job));
  EXPECT_THAT(estimate.warnings, testing::Contains(testing::HasSubstr("about 1024 tokens")));
}

TEST(JobEstimateTest, WhatTheSpecSaysInVainComesFirst) {
  ResolvedJob job = JobFor("optimal", 3);
  job.warnings = {"a field has no effect"};
  EXPECT_THAT(EstimateWork(job).warnings, testing::ElementsAre("a field has no effect"));
}

TEST(JobEstimateTest, ABudgetAboveTheLargestPlanIsTold) {
  ResolvedJob job = JobFor("optimal", 3);
  job.spec.budget = {};
  job.spec.budget.max_bytes = int64_t{1} << 40;
  job.sizes.maximum_bytes = 1234567890123;
  ASSERT_OK_AND_ASSIGN(JobEstimate estimate, EstimateNeeds(job));
  EXPECT_THAT(estimate.warnings, testing::IsEmpty());
  job.sizes.maximum_bytes = 123456789;
  ASSERT_OK_AND_ASSIGN(estimate, EstimateNeeds(job));
  EXPECT_THAT(estimate.warnings, testing::ElementsAre(testing::HasSubstr("takes 123456789 bytes")));
}

}  // namespace
}  // namespace quantmoe
