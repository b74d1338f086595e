#include "plan/job/idle_fields.h"

#include "plan/job/complete_input.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

JobSpec Completed(JobSpec spec) {
  EXPECT_THAT(CompleteInput(spec), IsEmpty());
  return spec;
}

TEST(IdleFieldsTest, WhatIsReadIsNotTold) {
  EXPECT_THAT(WarnOfIdleFields(Completed({})), IsEmpty());
  JobSpec measured;
  measured.evaluation.window = 64;
  measured.evaluation.perplexity_text = {std::string(64, 'a'), 9};
  measured.evaluation.tasks.push_back({.name = "piqa", .data = {}, .fewshot_data = {}});
  measured.gptq.propagation = Propagation::kQuantized;
  measured.gptq.correction = 0.5;
  EXPECT_THAT(WarnOfIdleFields(Completed(measured)), IsEmpty());
  JobSpec skipped;
  skipped.evaluation.skip = true;
  skipped.effort = 2;  // measures on calibration text
  EXPECT_THAT(WarnOfIdleFields(Completed(skipped)), IsEmpty());
}

TEST(IdleFieldsTest, AllOfASkippedMeasurementIsTold) {
  JobSpec spec;
  spec.evaluation.skip = true;
  spec.evaluation.window = 64;
  spec.evaluation.perplexity_text = {std::string(64, 'a'), 9};
  spec.evaluation.tasks.push_back({.name = "piqa", .data = {}, .fewshot_data = {}});
  const std::string because = " has no effect: evaluation.skip leaves the measurement out";
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)),
              ElementsAre("evaluation.window" + because, "evaluation.perplexity_text" + because,
                          "evaluation.tasks" + because));
}

TEST(IdleFieldsTest, OnlyOptimalSearches) {
  JobSpec spec;
  spec.effort = 20;
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)), IsEmpty());
  spec.heuristic = "expert-frequency";
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)),
              ElementsAre("effort has no effect: only the heuristic optimal searches"));
}

TEST(IdleFieldsTest, ACorrectionNeedsTheQuantizedPass) {
  JobSpec spec;
  spec.gptq.correction = 0.5;
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)),
              ElementsAre("gptq.correction has no effect: gptq.propagation is not quantized"));
}

}  // namespace
}  // namespace quantmoe
