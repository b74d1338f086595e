// How attempts begin and end: assignment, commit, failure, loss. A commit is accepted only for the token of
// the current attempt, so that a worker that was thought dead cannot win over its replacement. On the commit
// loop's thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "quantmoe/v1/worker.pb.h"
#include "server/decide/scheduler.h"
#include "server/facts/facts_recorder.h"
#include "server/loop/job_lifecycle.h"
#include "server/loop/metrics.h"
#include "server/loop/worker_links.h"

namespace quantmoe {

class TaskAttempts {
 public:
  TaskAttempts(FactsRecorder& facts, JobLifecycle& jobs, WorkerLinks& workers, Metrics& metrics,
               const Clock& clock, SchedulingLimits limits, int64_t term)
      : facts_(facts),
        jobs_(jobs),
        workers_(workers),
        metrics_(metrics),
        clock_(clock),
        limits_(limits),
        term_(term) {}

  // Starts an attempt and sends it to the worker.
  void Assign(const Assignment& assignment) ON_LOOP;

  // The outputs must exist. INVALID_ARGUMENT DETERMINISM_CLASS_MISMATCH.
  absl::StatusOr<v1::CompleteTaskResponse::Outcome> Complete(const v1::CompleteTaskRequest& request) ON_LOOP;
  // Does nothing when the attempt is not the current one.
  void Fail(const v1::FailTaskRequest& request) ON_LOOP;
  // The worker does not take it: no charge, no event.
  void Nack(const v1::AttemptRef& attempt, const google::rpc::Status& reason) ON_LOOP;
  void Acknowledge(const v1::AttemptRef& attempt) ON_LOOP;
  // True when `worker` holds the current attempt now.
  bool Adopt(const v1::AttemptRef& attempt, const std::string& worker) ON_LOOP;

  // The attempt stands still: a fault of its worker.
  void TakeAway(const TaskRef& ref, absl::string_view why) ON_LOOP;
  // The worker that ran it is gone. A lease that ran out or a restart costs no attempt.
  void Lose(const TaskRef& ref, absl::string_view why) ON_LOOP;
  // The worker died. Its tasks are lost; what it ran is blamed, and ends its job once it took down too many.
  void LoseAllOf(const std::string& worker, const std::vector<TaskRef>& tasks, absl::string_view why) ON_LOOP;
  // Back to the queue without charge.
  void Return(const TaskRef& ref) ON_LOOP;
  // Ends the job if a ready task of it took down two workers or more; for a job that no worker is left for.
  bool EndPoisoned(const Job& job) ON_LOOP;

  // The running task that the attempt names by its token; null when it is not the current one.
  const Task* FindRunning(const v1::AttemptRef& attempt, TaskRef& ref) const ON_LOOP;

 private:
  void Retry(const TaskRef& ref, Charge charge, const google::rpc::Status& error, double seconds,
             v1::TaskChanged::Outcome outcome, absl::string_view killed_worker = "") ON_LOOP;
  void FailOfInfrastructure(const v1::FailTaskRequest& request, const TaskRef& ref,
                            const google::rpc::Status& error) ON_LOOP;
  // Whether a full disk that the worker met is the coordinator's.
  bool IsOfCoordinator(const absl::Status& disk_full, const std::string& worker) const ON_LOOP;
  // After the second shortage in a row the worker gets nothing for a while.
  static void Rest(WorkerFacts& worker, absl::Duration now);
  // Whether another death that the task causes is one too many.
  bool IsPoison(const Task& task, absl::string_view killed_worker) const;
  void EndForGood(const TaskRef& ref, const google::rpc::Status& error, double seconds) ON_LOOP;
  void AfterEnd(const TaskRef& ref) ON_LOOP;

  FactsRecorder& facts_;
  JobLifecycle& jobs_;
  WorkerLinks& workers_;
  Metrics& metrics_;
  const Clock& clock_;
  const SchedulingLimits limits_;
  const int64_t term_;
};

}  // namespace quantmoe
