// What CreateJob, RetryJob and EstimateJob need to know about a request before facts are touched: is it well
// formed, what does it hash to, and what is the model behind it. Blocking: in a room only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/job/job_spec.h"
#include "quantmoe/v1/jobs.pb.h"
#include "server/service_context.h"

namespace quantmoe {

// Same requests have the same hash, whatever the order of their map entries. `request_id` does not count.
std::string RequestHash(const v1::CreateJobRequest& request);
std::string RequestHash(const v1::RetryJobRequest& request);

// All that can be said about the request without the model. INVALID_FIELD with every violation.
absl::Status CheckRequest(ServiceContext& context, const v1::CreateJobRequest& request);

// Checks the spec and opens the model. Errors as documented at JobService.CreateJob.
absl::StatusOr<std::shared_ptr<const ResolvedJob>> OpenSpec(ServiceContext& context, const v1::JobSpec& spec);

// What the report tells about the model.
std::string DescribeModel(const ResolvedJob& job);

// Family, layers, what is quantized, as JSON. Errors as documented at JobService.CreateJob for the model.
absl::StatusOr<std::string> InspectModelAt(ServiceContext& context, const std::string& uri);

// Who could do the work, and how fast such work was done before.
struct WorkerRates {
  int workers = 0;
  int64_t largest_memory_bytes = 0;
  std::map<TaskKind, std::pair<double, double>> done;  // work, seconds
};
WorkerRates GatherRates(const ServiceContext& context) ON_LOOP;

absl::StatusOr<v1::Estimate> EstimateSpec(ServiceContext& context, const v1::JobSpec& spec,
                                          const WorkerRates& rates);

}  // namespace quantmoe
