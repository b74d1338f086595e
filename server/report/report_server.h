// Answers the HTTP endpoint's questions about jobs.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "server/service_context.h"

namespace quantmoe {

// All wait for the commit loop, so they must not run on it; UNAVAILABLE when it does not answer in time.

// The page of jobs and workers.
absl::StatusOr<std::string> ShowJobs(ServiceContext& context, const SchedulingLimits& limits);
// The page of a report; errors as ReadReport.
absl::StatusOr<std::string> ShowReport(ServiceContext& context, const std::string& job_id);
// The report as JSON. NOT_FOUND JOB_NOT_FOUND; FAILED_PRECONDITION REPORT_NOT_READY.
absl::StatusOr<std::string> ReportOf(ServiceContext& context, const std::string& job_id);

}  // namespace quantmoe
