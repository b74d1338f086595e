// Plans of other jobs that were measured on the same solves: they can be compared on one front.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/job/pareto.h"
#include "server/facts/job_table.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct MeasuredJob {
  std::string job;  // its name
  Digest plan;
  Digest scores;
};

// The plan whose tensors were published: the one that the publish task reads. INTERNAL MISSING_OUTPUT.
absl::StatusOr<Digest> PublishedPlanOf(const Job& job);

// Jobs, `job` among them, that succeeded with scores and whose solve tasks gave the same results.
std::vector<MeasuredJob> JobsOfTheSameSolves(const JobTable& jobs, const Job& job);

struct MeasuredPlans {
  std::vector<MeasuredPoint> points;  // ascending in bytes
  double original_perplexity = 0;     // 0: none was measured
};
// Places them by `table`, under the objective of `spec`; those without a perplexity are left out. Blocking.
absl::StatusOr<MeasuredPlans> PlaceMeasured(BlobStore& blobs, const std::vector<MeasuredJob>& jobs,
                                            const DistortionTable& table, const JobSpec& spec);

}  // namespace quantmoe
