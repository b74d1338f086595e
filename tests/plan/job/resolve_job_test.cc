#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_replace.h"

#include "plan/allocate/bit_plan.h"
#include "plan/graph/job_estimate.h"
#include "plan/job/job_spec.h"
#include "plan/job/shipped_prose.h"
#include "plan/options/spec_json.h"
#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

const ModelSources kAnywhere{.confined = false};

JobSpec TinySpec() {
  JobSpec spec = AverageBitsSpec("optimal", 3);
  spec.model_uri = std::string(QUANTMOE_TESTDATA) + "/tiny-qwen2-moe";
  return spec;
}

// The ids of a golden's embedding are below 320.
constexpr char kSmallTokenizer[] = R"({
  "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 319}, "merges": []}})";

// A golden with a tokenizer, which no golden has.
std::string GoldenWithTokenizer(const std::string& family) {
  std::string copy = testing::TempDir() + "quantmoe-XXXXXX";
  const std::string testdata = QUANTMOE_TESTDATA;
  copy = ::mkdtemp(copy.data());
  std::filesystem::copy(testdata + "/goldens/" + family, copy);
  std::ofstream(copy + "/tokenizer.json") << kSmallTokenizer;
  return copy;
}

TEST(ResolveJobTest, FillsInEveryDefault) {
  ASSERT_OK_AND_ASSIGN(const ResolvedJob job, OpenJob(TinySpec(), {.roots = {QUANTMOE_TESTDATA}}));
  EXPECT_EQ(job.spec.gptq.group_size, 128);
  EXPECT_THAT(job.spec.gptq.widths, testing::ElementsAre(2, 3, 4, 8));
  EXPECT_EQ(job.spec.calibration.sequence_length, 512);
  EXPECT_EQ(job.spec.evaluation.window, 512);
  EXPECT_EQ(job.spec.calibration.text, DigestOf(ShippedCalibrationProse()));
  EXPECT_EQ(job.spec.evaluation.perplexity_text, DigestOf(ShippedHeldoutProse()));
  EXPECT_EQ(job.parts.size(), CutParts(job.model).size());
  EXPECT_FALSE(job.model_fingerprint.empty());
  EXPECT_FALSE(job.model_digest.empty());
  EXPECT_GT(job.original_bytes, job.sizes.maximum_bytes);
  EXPECT_GT(job.sizes.maximum_bytes, job.sizes.minimum_bytes);
  EXPECT_EQ(job.sizes.minimum_average_bits, 2);
  // A resolved spec resolves to itself.
  ASSERT_OK_AND_ASSIGN(const ResolvedJob again, OpenJob(job.spec, kAnywhere));
  EXPECT_EQ(JobSpecToJson(again.spec), JobSpecToJson(job.spec));
}

TEST(ResolveJobTest, KeepsAllThatAnEstimateNeedsOfTheModel) {
  JobSpec spec = TinySpec();
  spec.model_uri = GoldenWithTokenizer("mixtral");
  spec.heuristic = "uniform";
  spec.protect_super_experts = false;
  ASSERT_OK_AND_ASSIGN(const ResolvedJob job, OpenJob(spec, kAnywhere));
  std::filesystem::remove_all(spec.model_uri);
  ASSERT_OK_AND_ASSIGN(const JobEstimate estimate, EstimateNeeds(job));
  EXPECT_TRUE(estimate.bytes_exact);
  EXPECT_GT(estimate.predicted_bytes, job.sizes.minimum_bytes);
  EXPECT_GT(estimate.quantized_linears, 0);
  EXPECT_EQ(estimate.sizes.maximum_bytes, job.sizes.maximum_bytes);
}

TEST(ResolveJobTest, JobsOfOneModelShareIt) {
  ASSERT_OK_AND_ASSIGN(const JobModel model, OpenJobModel(TinySpec().model_uri, kAnywhere));
  for (const double bits : {2.5, 4.0}) {
    JobSpec spec = TinySpec();
    spec.budget.average_bits = bits;
    ASSERT_OK_AND_ASSIGN(const ResolvedJob alone, OpenJob(spec, kAnywhere));
    ASSERT_OK_AND_ASSIGN(const ResolvedJob shared, ResolveJob(spec, model));
    EXPECT_EQ(JobSpecToJson(shared.spec), JobSpecToJson(alone.spec));
    EXPECT_EQ(shared.model_digest, alone.model_digest);
    EXPECT_EQ(shared.kept.size(), alone.kept.size());
  }
}

TEST(ResolveJobTest, LengthsAboveTheContextAreRefusedTogether) {
  JobSpec spec = TinySpec();
  spec.calibration.sequence_length = 513;
  spec.evaluation.window = 1024;
  const absl::StatusOr<ResolvedJob> job = OpenJob(spec, kAnywhere);
  EXPECT_THAT(job, HasReason("INVALID_FIELD"));
  const ErrorInfo info = GetErrorInfo(job.status());
  ASSERT_EQ(info.violations.size(), 2u);
  EXPECT_EQ(info.violations[0].field, "spec.calibration.sequence_length");
  EXPECT_EQ(info.violations[1].field, "spec.evaluation.window");
}

TEST(ResolveJobTest, AGroupSizeThatDoesNotDivideNamesTheLinear) {
  JobSpec spec = TinySpec();
  spec.model_uri = GoldenWithTokenizer("mixtral");
  ASSERT_OK_AND_ASSIGN(const ResolvedJob job, OpenJob(spec, kAnywhere));
  EXPECT_EQ(job.spec.gptq.group_size, 32);
  spec.gptq.group_size = 64;
  absl::StatusOr<ResolvedJob> bad = OpenJob(spec, kAnywhere);
  EXPECT_THAT(bad, HasReason("INVALID_FIELD"));
  EXPECT_EQ(GetErrorInfo(bad.status()).violations[0].field, "spec.gptq.group_size");
  EXPECT_THAT(GetErrorInfo(bad.status()).violations[0].description,
              testing::HasSubstr("32 of model.layers.0.block_sparse_moe.experts.0.w2"));
  // The experts of this one are 24 wide: nothing divides.
  spec.model_uri = std::string(QUANTMOE_TESTDATA) + "/goldens/qwen3_moe";
  spec.gptq.group_size = 0;
  bad = OpenJob(spec, kAnywhere);
  EXPECT_THAT(bad, HasReason("INVALID_FIELD"));
  EXPECT_THAT(GetErrorInfo(bad.status()).violations[0].description, testing::HasSubstr("24"));
}

TEST(ResolveJobTest, AProfileThatCannotLoadTheFamilyIsRefused) {
  JobSpec spec = TinySpec();
  spec.model_uri = std::string(QUANTMOE_TESTDATA) + "/goldens/gpt_oss";
  spec.budget = {};
  spec.budget.average_bits = 4;
  for (const char* profile : {"vllm", "sglang"}) {
    spec.runtime_profile = profile;
    const absl::StatusOr<ResolvedJob> refused = OpenJob(spec, kAnywhere);
    ASSERT_THAT(refused, HasReason("INVALID_FIELD"));
    EXPECT_EQ(GetErrorInfo(refused.status()).violations[0].field, "spec.runtime_profile");
  }
  // The experts of this one are 24 wide, which no profile can help.
  spec.runtime_profile = "gptqmodel";
  const absl::StatusOr<ResolvedJob> other = OpenJob(spec, kAnywhere);
  EXPECT_EQ(GetErrorInfo(other.status()).violations[0].field, "spec.gptq.group_size");
}

TEST(ResolveJobTest, AnImpossibleBudgetIsRefusedBeforeAnyWork) {
  JobSpec spec = TinySpec();
  spec.budget = {std::nullopt, 1000};
  absl::StatusOr<ResolvedJob> job = OpenJob(spec, kAnywhere);
  EXPECT_THAT(job, HasReason("BIT_BUDGET_INFEASIBLE"));
  EXPECT_EQ(GetErrorInfo(job.status()).metadata.at("asked"), "1000");
  spec.budget = {1.5, std::nullopt};
  EXPECT_THAT(OpenJob(spec, kAnywhere), HasReason("BIT_BUDGET_INFEASIBLE"));
  // The bound is exact: the minimum itself is possible.
  ASSERT_OK_AND_ASSIGN(const ResolvedJob good, OpenJob(TinySpec(), kAnywhere));
  spec.budget = {std::nullopt, good.sizes.minimum_bytes};
  EXPECT_OK(OpenJob(spec, kAnywhere));
  spec.budget = {std::nullopt, good.sizes.minimum_bytes - 1};
  EXPECT_THAT(OpenJob(spec, kAnywhere), HasReason("BIT_BUDGET_INFEASIBLE"));
}

TEST(ResolveJobTest, TheBudgetOfAnAverageIsWhatThePlanTakes) {
  ASSERT_OK_AND_ASSIGN(const ResolvedJob job, OpenJob(TinySpec(), kAnywhere));
  const int64_t three_bits = BudgetBytes({3.0, std::nullopt}, job.sizes);
  const SizeBounds uniform = BoundSizes(ListLinears(job.model), {}, {3}, job.spec.gptq.group_size);
  const SizeBounds two = BoundSizes(ListLinears(job.model), {}, {2}, job.spec.gptq.group_size);
  const int64_t kept = job.sizes.minimum_bytes - two.minimum_bytes;
  EXPECT_NEAR(static_cast<double>(three_bits), static_cast<double>(uniform.minimum_bytes + kept), 2048);
}

TEST(ResolveJobTest, WhatInspectionFindsIsRefused) {
  JobSpec spec = TinySpec();
  spec.model_uri = GoldenWithTokenizer("mixtral");
  EXPECT_OK(OpenJob(spec, kAnywhere));
  std::ofstream(spec.model_uri + "/tokenizer.json") << absl::StrReplaceAll(kSmallTokenizer, {{"319", "320"}});
  EXPECT_THAT(OpenJob(spec, kAnywhere), HasReason("TOKENIZER_INVALID"));
  std::ofstream(spec.model_uri + "/tokenizer.json") << "{";
  EXPECT_THAT(OpenJob(spec, kAnywhere), HasReason("TOKENIZER_INVALID"));
  std::filesystem::remove(spec.model_uri + "/tokenizer.json");
  EXPECT_THAT(OpenJob(spec, kAnywhere),
              testing::AllOf(HasReason("MODEL_INVALID"), StatusIs(absl::StatusCode::kInvalidArgument,
                                                                  testing::HasSubstr("tokenizer.json"))));
}

TEST(ResolveJobTest, PlacesOutsideTheRootsAndMissingModelsAreRefused) {
  EXPECT_THAT(OpenJob(TinySpec(), {.roots = {std::string(QUANTMOE_TESTDATA) + "/goldens"}}),
              HasReason("SOURCE_NOT_ALLOWED"));
  JobSpec spec = TinySpec();
  spec.model_uri += "-missing";
  EXPECT_THAT(OpenJob(spec, kAnywhere), HasReason("MODEL_NOT_FOUND"));
}

}  // namespace
}  // namespace quantmoe
