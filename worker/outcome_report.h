// Tells the coordinator how an attempt ended: CompleteTask for a result, FailTask for an error. Both are
// idempotent, so that a report whose answer was lost is simply made again.
#pragma once

#include <string>

#include "absl/status/status.h"

#include "worker/coordinator_client.h"
#include "worker/metrics.h"
#include "worker/task_runner.h"

namespace quantmoe {

struct Reporter {
  const std::string& worker_id;
  const std::string& determinism_class;
};

// One try. OK once the coordinator knows the outcome, also when it has no more use for it (STALE, which is
// counted).
absl::Status ReportOutcome(CoordinatorClient& client, const Reporter& reporter, const Attempt& attempt,
                           const TaskOutcome& outcome, WorkerMetrics& metrics);

// False for OK and for refusals. Errors of the connection are worth another try, and so is a coordinator that
// stops or runs out of something.
bool WorthReportingAgain(const absl::Status& answer);

}  // namespace quantmoe
