// Decisions: which task goes to which worker, whose lease has run out, what a failed attempt costs. Pure
// functions of the facts and a given monotonic time, so that tests need neither threads nor clocks.
//
// Among jobs the one that was served longest ago comes first; inside a job the task with the longest way to
// the end of the job, so that the chain of forward passes never waits behind work that can be done in
// parallel later.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "server/facts/job_table.h"
#include "server/facts/worker_table.h"

namespace quantmoe {

struct SchedulingLimits {
  absl::Duration lease = absl::Seconds(20);
  absl::Duration heartbeat = absl::Seconds(5);
  // Retries of one task after running out of memory, and after faults of the infrastructure when every worker
  // that could run it has met one.
  int memory_retries = 2;
  int fault_retries = 5;
  // Different workers on which one task may meet faults or shortages.
  int failing_workers = 6;
  // Attempts of one task that may end with the death of their worker, of one or of several; the last of them
  // ends its job. 0: no limit.
  int poison_deaths = 3;
  // With two such deaths and no worker left, the job ends after this long: fewer workers than the limit
  // exist.
  absl::Duration poison_patience = absl::Minutes(1);
};

struct Assignment {
  std::string job;
  std::string task;
  std::string worker;
};
// A job without a class takes that of this worker, which could run its next task now.
struct Binding {
  std::string job;
  std::string determinism_class;
};

struct Schedule {
  std::vector<Binding> bindings;
  std::vector<Assignment> assignments;
};

// Bindings must be applied before their jobs get assignments: call again after applying.
Schedule MakeSchedule(const JobTable& jobs, const WorkerTable& workers, const SchedulingLimits& limits,
                      absl::Duration now);

// Workers that were not heard of for a whole lease.
std::vector<std::string> ExpiredWorkers(const WorkerTable& workers, const SchedulingLimits& limits,
                                        absl::Duration now);
// Heartbeats are late: no new assignments.
bool IsSuspect(const WorkerFacts& worker, const SchedulingLimits& limits, absl::Duration now);

// Whether a worker that could run the task now, or after others, has not failed it yet.
bool HasUntriedWorker(const Job& job, const Task& task, const WorkerTable& workers,
                      const SchedulingLimits& limits, absl::Duration now);
// Whether the task has failed too often for another try to make sense.
bool IsExhausted(const Job& job, const Task& task, const WorkerTable& workers, const SchedulingLimits& limits,
                 absl::Duration now);

// The task that probably ended a worker that died: workers run their tasks in the order in which they get
// them. Empty when it held none that it had received.
std::optional<TaskRef> FindSuspect(const JobTable& jobs, absl::string_view worker);

// The wait before the next attempt after `failures` faults: 1 s doubled each time, at most 60 s.
absl::Duration RetryDelay(int failures);

}  // namespace quantmoe
