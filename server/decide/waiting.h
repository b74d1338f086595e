// Why nothing of a job runs: one function of the facts, for people (Job.waiting) and for whoever ends jobs
// that wait in vain. Pure.
#pragma once

#include <string>

#include "absl/time/time.h"

#include "server/decide/scheduler.h"
#include "server/facts/job_table.h"
#include "server/facts/worker_table.h"

namespace quantmoe {

struct WaitingReason {
  v1::Waiting::Cause cause = v1::Waiting::CAUSE_UNSPECIFIED;  // nothing is in the way
  std::string reason = {};                                    // a sentence; empty without a cause
};

// For a job that is queued or running. A worker whose connection broke counts as dead: the kernel breaks
// those of a process that dies, and one that lives is back within a few seconds.
WaitingReason ExplainWaiting(const Job& job, const JobTable& jobs, const WorkerTable& workers,
                             const SchedulingLimits& limits, absl::Duration now);

// No worker that is there could take the next task, however long it waits for them.
bool IsUnschedulable(v1::Waiting::Cause cause);

}  // namespace quantmoe
