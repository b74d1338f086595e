// The answer of GetJobPareto: the front of what a job has solved, with every job measured on the same solves.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "quantmoe/v1/jobs.pb.h"
#include "server/report/measured_plans.h"
#include "server/service_context.h"

namespace quantmoe {

// What the front needs from the facts.
struct ParetoFacts {
  std::string spec_json;
  Digest table;
  std::vector<MeasuredJob> measured;
};

// FAILED_PRECONDITION REPORT_NOT_READY before the job has succeeded. On the commit loop.
absl::StatusOr<ParetoFacts> GatherParetoFacts(const JobTable& jobs, const Job& job,
                                              const std::string& artifacts_dir);

// `points` as in GetJobParetoRequest. Opens the model for the tensors that stay. Blocking: in a room only.
absl::StatusOr<v1::JobPareto> BuildPareto(ServiceContext& context, const ParetoFacts& facts, int points);

}  // namespace quantmoe
