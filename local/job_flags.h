// What a job is made of, as `quantize` and `compare` take it from the command line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>

#include "local/flag_values.h"
#include "plan/job/job_spec.h"
#include "sources/model_sources.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct JobFlags {
  JobSpec spec;
  PlanFlags plan;
  std::string model, calibration, text;
  std::vector<std::string> tasks, fewshot;
  std::string propagation = "original", order = "activation", scales = "auto", states = "f32";
  int64_t limit = 0;
  bool add_bos = false, no_add_bos = false;
};

// All flags but those of the plan (AddPlanFlags).
void AddJobFlags(CLI::App& command, JobFlags& flags);
// The spec that the flags speak of, with texts and items put into `blobs`. INVALID_FIELD names flags.
absl::StatusOr<JobSpec> MakeSpec(const JobFlags& flags, const ModelSources& sources, LocalBlobStore& blobs);

}  // namespace quantmoe
