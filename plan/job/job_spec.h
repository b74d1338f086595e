// A job's spec against a model: what is wrong with it, and what it comes to with every default filled in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/error_info.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic.h"
#include "plan/model/linears.h"
#include "plan/model/model_spec.h"
#include "plan/options/job_spec.h"
#include "sources/checkpoint.h"
#include "sources/model_sources.h"

namespace quantmoe {

// A spec with its model opened and every default filled in: what tasks are planned from, and what an estimate
// is made of. It keeps all that they need of the model, so that its files are read once.
struct ResolvedJob {
  JobSpec spec;
  ModelSpec model;
  std::vector<Part> parts;  // by layer, attention first
  std::string model_fingerprint;
  std::string files_fingerprint;  // FingerprintOfFiles
  std::string model_digest;       // Checkpoint::header_digest
  int64_t original_bytes = 0;
  int64_t read_bytes = 0;             // the most that is read from the checkpoint at once for one linear
  std::vector<TensorInfo> kept;       // tensors that stay unquantized, as of KeptTensors
  SizeBounds sizes;                   // of the artifact's weight files
  std::vector<std::string> warnings;  // of what the spec says in vain
};

// The record of the spec's profile; FreeProfile() when CheckJobSpec would refuse its name.
const RuntimeProfile& ProfileOf(const JobSpec& spec);

// The record of the spec's heuristic; CheckJobSpec must have accepted its name.
const Heuristic& HeuristicOf(const JobSpec& spec);

// What a plan may use: the candidate widths from the heuristic's floor on, ascending.
std::vector<int> PlanWidths(const JobSpec& spec);

// All violations of the fields that can be judged without the model. Field paths start with "spec.".
std::vector<FieldViolation> CheckJobSpec(const JobSpec& spec);

// Opens nothing itself: checks `spec` against an opened checkpoint (config, tensors, group size, budget
// bounds) and fills in defaults. INVALID_FIELD with all violations, MODEL_INVALID, MODEL_UNSUPPORTED,
// FAILED_PRECONDITION BIT_BUDGET_INFEASIBLE {minimum, maximum, asked}.
absl::StatusOr<ResolvedJob> ResolveJob(JobSpec spec, const Checkpoint& checkpoint,
                                       absl::string_view config_json);

// A model that was opened for one job or for several.
struct JobModel {
  std::string uri;  // pinned (ModelDirectory::uri), so that every worker reads the same bytes
  std::unique_ptr<Checkpoint> checkpoint;
  std::string config_json;
};
// Reads the headers and config.json, each once. Errors of OpenModel, ReadModelConfig and Checkpoint::Open.
absl::StatusOr<JobModel> OpenJobModel(const std::string& uri, const ModelSources& models);
// ResolveJob with this model, whose URI the job gets; its errors.
absl::StatusOr<ResolvedJob> ResolveJob(JobSpec spec, const JobModel& model);

// The whole way from a spec to a ResolvedJob: the spec is checked, its model opened, and the job resolved.
// INVALID_FIELD with all that CheckJobSpec finds; errors of OpenJobModel and ResolveJob.
absl::StatusOr<ResolvedJob> OpenJob(JobSpec spec, const ModelSources& models);

}  // namespace quantmoe
