#include "plan/job/job_spec.h"

#include <limits>

#include "nlohmann/json.hpp"
#include "plan/options/spec_json.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

std::vector<std::string> BadFields(const JobSpec& spec) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : CheckJobSpec(spec)) fields.push_back(violation.field);
  return fields;
}

TEST(JobSpecTest, AGoodSpecHasNoViolations) {
  EXPECT_THAT(BadFields(AverageBitsSpec("optimal", 3)), testing::IsEmpty());
}

TEST(JobSpecTest, AllViolationsComeAtOnce) {
  JobSpec spec;
  spec.budget = {3.0, 100};
  spec.heuristic = "magic";
  spec.gptq.group_size = 48;
  spec.gptq.widths = {2, 5, 2};
  spec.gptq.damp = std::numeric_limits<double>::quiet_NaN();
  spec.gptq.min_tokens_ratio = -1;
  spec.gptq.max_fallback_ratio = 1.5;
  spec.calibration = {{"abc", 1}, 0, -1, 0};
  spec.evaluation.window = 1;
  spec.evaluation.tasks = {{"glue", {}, {}}, {"piqa", DigestOf("x"), {}}, {"piqa", DigestOf("x"), {"zz", 1}}};
  spec.runtime_profile = "toaster";
  EXPECT_THAT(
      BadFields(spec),
      testing::UnorderedElementsAre(
          "spec.model.uri", "spec.budget", "spec.heuristic.name", "spec.gptq.group_size",
          "spec.gptq.widths[1]", "spec.gptq.widths[2]", "spec.gptq.damp", "spec.gptq.min_tokens_ratio",
          "spec.gptq.max_fallback_ratio", "spec.calibration.text.sha256", "spec.calibration.samples",
          "spec.calibration.sequence_length", "spec.calibration.shard_sequences", "spec.evaluation.window",
          "spec.evaluation.tasks[0].name", "spec.evaluation.tasks[0].data", "spec.evaluation.tasks[2].name",
          "spec.evaluation.tasks[2].fewshot_data.sha256", "spec.runtime_profile"));
}

TEST(JobSpecTest, BudgetsAreBounded) {
  EXPECT_THAT(BadFields(AverageBitsSpec("optimal", 0)), testing::ElementsAre("spec.budget.average_bits"));
  EXPECT_THAT(BadFields(AverageBitsSpec("optimal", 8.5)), testing::ElementsAre("spec.budget.average_bits"));
  EXPECT_THAT(BadFields(AverageBitsSpec("optimal", std::numeric_limits<double>::infinity())),
              testing::ElementsAre("spec.budget.average_bits"));
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.budget = {std::nullopt, -5};
  EXPECT_THAT(BadFields(spec), testing::ElementsAre("spec.budget.max_bytes"));
}

TEST(JobSpecTest, WidthsMustSuitTheProfile) {
  JobSpec spec = AverageBitsSpec("optimal", 4);
  spec.runtime_profile = "vllm";
  spec.gptq.widths = {4, 2};  // 2 is solved for other profiles
  EXPECT_THAT(BadFields(spec), testing::IsEmpty());
  spec.gptq.widths = {2, 3};
  EXPECT_THAT(BadFields(spec), testing::ElementsAre("spec.gptq.widths"));
  spec.gptq.widths = {4};
  spec.gptq.scales = ScaleRule::kSigned;
  EXPECT_THAT(BadFields(spec), testing::ElementsAre("spec.gptq.scales"));
}

TEST(JobSpecTest, UrisAndParametersAreChecked) {
  JobSpec spec = AverageBitsSpec("expert-frequency", 4);
  spec.model_uri = "ftp://host/model";
  spec.heuristic_params = {{"scope", "galaxy"}, {"colour", "red"}};
  EXPECT_THAT(BadFields(spec), testing::UnorderedElementsAre("spec.model.uri", "spec.heuristic.params[scope]",
                                                             "spec.heuristic.params[colour]"));
}

TEST(JobSpecTest, JsonRoundTripsAndIsCanonical) {
  JobSpec spec = AverageBitsSpec("expert-frequency", 0.1 + 2.9);
  spec.heuristic_params = {{"scope", "layer"}, {"count", "3"}};
  spec.gptq.widths = {2, 4};
  spec.calibration.states = StateType::kBF16;
  spec.gptq.order = ColumnOrder::kGroup;
  spec.gptq.scales = ScaleRule::kSigned;
  spec.gptq.all_tokens = {"*.experts.3.*"};
  spec.evaluation.add_bos = false;
  spec.evaluation.tasks = {{"mmlu", DigestOf("a"), DigestOf("b")}};
  ASSERT_OK_AND_ASSIGN(const JobSpec read, JobSpecFromJson(JobSpecToJson(spec)));
  EXPECT_EQ(JobSpecToJson(read), JobSpecToJson(spec));
  EXPECT_EQ(read.budget.average_bits, spec.budget.average_bits);
  EXPECT_EQ(read.evaluation.add_bos, false);
  EXPECT_EQ(read.evaluation.tasks[0].fewshot_data, DigestOf("b"));
  EXPECT_FALSE(read.budget.max_bytes.has_value());
}

TEST(JobSpecTest, UnknownKeysAndWrongTypesAreRefused) {
  const nlohmann::json good = nlohmann::json::parse(JobSpecToJson(AverageBitsSpec("optimal", 3)));
  nlohmann::json bad = good;
  bad["gptq"]["group_sise"] = 64;
  EXPECT_THAT(JobSpecFromJson(bad.dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr(".gptq.group_sise")));
  bad = good;
  bad["gptq"]["damp"] = "much";
  EXPECT_FALSE(JobSpecFromJson(bad.dump()).ok());
  EXPECT_FALSE(JobSpecFromJson("[]").ok());
  EXPECT_FALSE(JobSpecFromJson("").ok());
}

}  // namespace
}  // namespace quantmoe
