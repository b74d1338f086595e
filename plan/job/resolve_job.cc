#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/expert_ranks.h"
#include "plan/allocate/width_rules.h"
#include "plan/job/complete_input.h"
#include "plan/job/idle_fields.h"
#include "plan/job/job_spec.h"
#include "plan/model/model_config.h"
#include "plan/model/model_files.h"
#include "plan/model/model_problems.h"
#include "plan/model/tensor_views.h"
#include "sources/model_sources.h"

namespace quantmoe {
namespace {

constexpr int64_t kDefaultSequenceLength = 2048;

// The first linear whose input width `group_size` does not divide, as text; empty when it divides all.
std::string FindUndivided(const std::vector<Linear>& linears, int group_size) {
  for (const Linear& linear : linears) {
    if (linear.in % group_size != 0) {
      return absl::StrCat("the input width ", linear.in, " of ", linear.name, " is not a multiple of ",
                          group_size);
    }
  }
  return "";
}

void ResolveGroupSize(const std::vector<Linear>& linears, GptqSpec& gptq,
                      std::vector<FieldViolation>& violations) {
  if (gptq.group_size == 0) gptq.group_size = DefaultGroupSize(linears);
  const std::string problem = FindUndivided(linears, gptq.group_size == 0 ? 32 : gptq.group_size);
  if (!problem.empty()) violations.push_back({"spec.gptq.group_size", problem});
}

void ResolveLength(const std::string& field, int64_t context, int& length,
                   std::vector<FieldViolation>& violations) {
  if (length == 0) length = static_cast<int>(std::min(kDefaultSequenceLength, context));
  if (length > context) {
    violations.push_back({field, absl::StrCat("is ", length, ", above the model's context of ", context)});
  }
}

// As many as bring the sequences to 512 in all, of a quarter of their tokens at most
// (docs/quantmoe-bench.md).
int DefaultStarts(const CalibrationSpec& calibration) {
  constexpr int64_t kSequences = 512;
  const int64_t tokens = int64_t{calibration.samples} * calibration.sequence_length;
  const int64_t fit = tokens / 4 / StartLength(calibration.sequence_length);
  return static_cast<int>(std::clamp<int64_t>(kSequences - calibration.samples, 0, fit));
}

absl::Status CheckAllTokens(const std::vector<Linear>& linears, const std::vector<std::string>& patterns) {
  std::vector<FieldViolation> violations;
  for (size_t i = 0; i < patterns.size(); ++i) {
    const bool found = std::any_of(linears.begin(), linears.end(), [&](const Linear& linear) {
      return IsExpert(linear.kind) && MatchesPattern(patterns[i], linear);
    });
    if (found) continue;
    violations.push_back({absl::StrCat("spec.gptq.all_tokens[", i, "]"),
                          absl::StrCat("\"", patterns[i], "\" matches no expert")});
  }
  return InvalidFields(std::move(violations));
}

void CheckProfileLoads(const JobSpec& spec, const std::vector<Linear>& linears,
                       std::vector<FieldViolation>& violations) {
  if (ProfileOf(spec).loads_expert_bias) return;
  for (const Linear& linear : linears) {
    if (!IsExpert(linear.kind) || !linear.bias) continue;
    violations.push_back(
        {"spec.runtime_profile",
         absl::StrCat("is ", spec.runtime_profile, ", which cannot load GPTQ experts with a bias, as ",
                      linear.name, " has; use gptqmodel or any")});
    return;
  }
}

// Refuses rules that fit no linear, and a budget below the smallest plan that they leave.
absl::StatusOr<SizeBounds> ResolveSizes(const JobSpec& spec, const std::vector<Linear>& linears,
                                        const std::vector<TensorInfo>& kept) {
  ASSIGN_OR_RETURN(const AllowedWidths allowed,
                   ApplyRules(linears, spec.rules, PlanWidths(spec), ProfileOf(spec)));
  RETURN_IF_ERROR(CheckAllTokens(linears, spec.gptq.all_tokens));
  const int ranks = spec.budget.rank_bytes ? spec.budget.rank_bytes->ranks : 0;
  if (ranks > 0) RETURN_IF_ERROR(ExpertRanks(linears, ranks).Check());
  const SizeBounds bounds = BoundSizes(linears, kept, allowed, spec.gptq.group_size, ranks);
  RETURN_IF_ERROR(CheckBudget(spec.budget, bounds));
  return bounds;
}

}  // namespace

absl::StatusOr<ResolvedJob> ResolveJob(JobSpec spec, const Checkpoint& checkpoint,
                                       absl::string_view config_json) {
  RETURN_IF_ERROR(InvalidFields(CompleteInput(spec)));
  RETURN_IF_ERROR(InvalidFields(CheckJobSpec(spec)));
  ResolvedJob job;
  job.warnings = WarnOfIdleFields(spec);
  ASSIGN_OR_RETURN(job.model, ParseModelConfig(config_json));
  const std::vector<Linear> linears = ListLinears(job.model);

  std::vector<FieldViolation> violations;
  CheckProfileLoads(spec, linears, violations);
  ResolveGroupSize(linears, spec.gptq, violations);
  ResolveLength("spec.calibration.sequence_length", job.model.max_position, spec.calibration.sequence_length,
                violations);
  ResolveLength("spec.evaluation.window", job.model.max_position, spec.evaluation.window, violations);
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  if (!spec.calibration.starts) spec.calibration.starts = DefaultStarts(spec.calibration);
  if (const auto problems = FindModelProblems(job.model, checkpoint); !problems.empty())
    return problems.front();

  // All widths are solved whatever the profile, so that a second job with another one solves nothing again.
  spec.gptq.widths = CandidateWidths(spec.gptq.widths, FreeProfile());
  job.kept = KeptTensors(job.model, checkpoint);
  ASSIGN_OR_RETURN(job.sizes, ResolveSizes(spec, linears, job.kept));
  job.spec = std::move(spec);
  job.parts = CutParts(job.model);
  job.model_fingerprint = checkpoint.fingerprint();
  ASSIGN_OR_RETURN(job.files_fingerprint, FingerprintOfFiles(checkpoint.directory()));
  job.model_digest = checkpoint.header_digest();
  job.original_bytes = checkpoint.total_bytes();
  job.read_bytes = LargestReadBytes(job.model, checkpoint);
  return job;
}

absl::StatusOr<JobModel> OpenJobModel(const std::string& uri, const ModelSources& models) {
  ASSIGN_OR_RETURN(std::shared_ptr<ModelDirectory> directory, OpenModel(uri, models));
  JobModel model;
  ASSIGN_OR_RETURN(model.config_json, ReadModelConfig(*directory));
  model.uri = directory->uri().ToString();
  ASSIGN_OR_RETURN(model.checkpoint, Checkpoint::Open(std::move(directory)));
  return model;
}

absl::StatusOr<ResolvedJob> ResolveJob(JobSpec spec, const JobModel& model) {
  spec.model_uri = model.uri;
  return ResolveJob(std::move(spec), *model.checkpoint, model.config_json);
}

absl::StatusOr<ResolvedJob> OpenJob(JobSpec spec, const ModelSources& models) {
  RETURN_IF_ERROR(InvalidFields(CheckJobSpec(spec)));
  ASSIGN_OR_RETURN(const JobModel model, OpenJobModel(spec.model_uri, models));
  return ResolveJob(std::move(spec), model);
}

}  // namespace quantmoe
