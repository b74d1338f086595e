#include "server/facts/job_spec_proto.h"

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

// A spec in which no field has its default.
JobSpec UnusualSpec() {
  const auto digest = [](char c) { return Digest{std::string(64, c), 7}; };
  JobSpec spec;
  spec.model_uri = "file:///m";
  spec.budget.rank_bytes = RankBudget{1000, 4};
  spec.heuristic = "expert-frequency";
  spec.heuristic_params = {{"count", "5"}};
  spec.gptq = {.group_size = 64,
               .widths = {2, 4},
               .damp = 0.5,
               .order = ColumnOrder::kGroup,
               .scales = ScaleRule::kPositive,
               .min_tokens_ratio = 0.5,
               .max_fallback_ratio = 0.75,
               .gate_weighted = true,
               .shrinkage = 2,
               .all_tokens = {"experts"},
               .propagation = Propagation::kQuantized,
               .correction = 0.25};
  spec.calibration = {digest('a'), 3, 5, 2, StateType::kBF16};
  spec.evaluation = {.skip = true,
                     .perplexity_text = digest('b'),
                     .window = 9,
                     .tasks = {{"copa", digest('c'), digest('d'), 11}, {"piqa", digest('e'), {}, 0}},
                     .add_bos = false};
  spec.runtime_profile = "any";
  spec.rules = {{"attention", 4, 8, false}, {"shared", 0, 0, true}};
  spec.refinement = {2, 3};
  return spec;
}

// As few fields as a resolved spec can have.
JobSpec PlainSpec() {
  JobSpec spec;
  spec.model_uri = "/m";
  spec.budget.average_bits = 3.0;
  spec.heuristic = "optimal";
  spec.calibration.text = {std::string(64, 'a'), 1};
  spec.evaluation.perplexity_text = {std::string(64, 'b'), 1};
  return spec;
}

TEST(JobSpecProtoTest, WhatIsWrittenIsReadBack) {
  for (const JobSpec& spec : {UnusualSpec(), PlainSpec()}) {
    std::vector<FieldViolation> violations;
    const JobSpec read = JobSpecFromProto(JobSpecToProto(spec), {}, violations);
    EXPECT_TRUE(violations.empty());
    EXPECT_EQ(JobSpecToJson(read), JobSpecToJson(spec));
  }
}

}  // namespace
}  // namespace quantmoe
