// Pages of jobs, tasks and events. Pure, apart from reading the store.
#pragma once

#include "absl/status/status.h"

#include "quantmoe/v1/artifacts.pb.h"
#include "quantmoe/v1/jobs.pb.h"
#include "server/facts/job_table.h"
#include "server/facts/state_store.h"

namespace quantmoe {

absl::Status ListJobPage(const JobTable& table, const v1::ListJobsRequest& request,
                         v1::ListJobsResponse& response);
absl::Status ListTaskPage(const Job& job, const v1::ListTasksRequest& request,
                          v1::ListTasksResponse& response);
absl::Status ListArtifactPage(const JobTable& table, const v1::ListArtifactsRequest& request,
                              const std::string& artifacts_dir, v1::ListArtifactsResponse& response);
// Blocking: in a room only.
absl::Status ListEventPage(StateStore& store, const std::string& job, const v1::ListJobEventsRequest& request,
                           v1::ListJobEventsResponse& response);

}  // namespace quantmoe
