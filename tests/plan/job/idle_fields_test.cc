#include "plan/job/idle_fields.h"

#include "plan/job/complete_input.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
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
  skipped.refinement.rounds = 2;  // measures on calibration text
  EXPECT_THAT(WarnOfIdleFields(Completed(skipped)), IsEmpty());
}

TEST(IdleFieldsTest, AllOfASkippedMeasurementIsToldWithItsFlag) {
  JobSpec spec;
  spec.evaluation.skip = true;
  spec.evaluation.window = 64;
  spec.evaluation.perplexity_text = {std::string(64, 'a'), 9};
  spec.evaluation.tasks.push_back({.name = "piqa", .data = {}, .fewshot_data = {}});
  const auto idle = [](const char* field, const char* flag) {
    return AllOf(HasSubstr(field), HasSubstr(flag), HasSubstr("--no-evaluation"));
  };
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)),
              ElementsAre(idle("evaluation.window", "--window"), idle("evaluation.perplexity_text", "--text"),
                          idle("evaluation.tasks", "--task")));
}

TEST(IdleFieldsTest, ACorrectionNeedsTheQuantizedPass) {
  JobSpec spec;
  spec.gptq.correction = 0.5;
  EXPECT_THAT(WarnOfIdleFields(Completed(spec)),
              ElementsAre(AllOf(HasSubstr("gptq.correction (--correction)"), HasSubstr("--propagation"))));
}

}  // namespace
}  // namespace quantmoe
