// The life of worker sessions and leases: hello, heartbeats, credits, drain, goodbye, loss; and the dispatch
// of ready tasks to them. On the commit loop's thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "server/decide/scheduler.h"
#include "server/decide/waiting.h"
#include "server/facts/facts_recorder.h"
#include "server/loop/metrics.h"
#include "server/loop/task_attempts.h"
#include "server/loop/worker_links.h"

namespace quantmoe {

class WorkerSessions {
 public:
  struct Options {
    SchedulingLimits limits;
    // A running task whose progress stands still for so long is taken away from its worker.
    absl::Duration no_progress_timeout = absl::Minutes(10);
    // A job fails when no connected worker could take its next task for so long.
    absl::Duration unschedulable_timeout = absl::Hours(24);
    int64_t term = 0;
    std::string blob_dir;
    std::string blob_dir_probe;  // file name in blob_dir
    std::string blob_dir_probe_text;
  };
  WorkerSessions(Options options, FactsRecorder& facts, JobLifecycle& jobs, TaskAttempts& attempts,
                 WorkerLinks& workers, Metrics& metrics, const Clock& clock);

  // A session opens; an older one of the same process is closed, and one that takes the id of another
  // connected worker is refused. Attempts that the worker holds are adopted or dropped; those that it should
  // hold and does not go back to the queue.
  void Hello(const v1::Hello& hello, const std::shared_ptr<WorkerLink>& link) ON_LOOP;
  // A message after Hello from the session behind `link`.
  void Receive(const std::string& worker, const std::shared_ptr<WorkerLink>& link,
               const v1::WorkerMessage& message) ON_LOOP;
  // The stream ended. The worker keeps its tasks until its lease runs out.
  void Disconnected(const std::string& worker, const std::shared_ptr<WorkerLink>& link) ON_LOOP;
  // NOT_FOUND WORKER_NOT_FOUND.
  absl::Status Drain(const std::string& worker) ON_LOOP;

  // Expires leases, ends the recovery.
  void Tick() ON_LOOP;
  // Assigns what can run now.
  void Dispatch() ON_LOOP;
  // Running tasks of a coordinator that starts are left alone for one lease, so that their workers can come
  // back.
  void BeginRecovery() ON_LOOP;
  bool recovering() const ON_LOOP { return recovering_; }
  // The facts were read again because a commit failed; what is known about workers was not.
  void AfterReload() ON_LOOP;
  // Ends all sessions.
  void CloseAll(const absl::Status& status) ON_LOOP;
  // Writes the probe of the blob directory again when somebody has removed it. Thread-safe.
  void KeepProbe() const NEVER_ON_LOOP;

 private:
  struct Progress {
    int64_t ticks = 0;
    absl::Duration since;
  };
  void Heartbeat(WorkerFacts& worker, const v1::WorkerHeartbeat& heartbeat) ON_LOOP;
  void WatchProgress(const std::string& worker, const v1::WorkerHeartbeat& heartbeat) ON_LOOP;
  void ReturnUndelivered(const std::string& worker, const v1::WorkerHeartbeat& heartbeat) ON_LOOP;
  void Remove(const std::string& worker, absl::string_view cause) ON_LOOP;
  void ExpireLeases(absl::Duration now) ON_LOOP;
  void EndRecovery() ON_LOOP;
  // Says why jobs wait, and ends those for which no worker has come for too long.
  void ExplainJobs() ON_LOOP;
  void Explain(const Job& job, const WaitingReason& waiting) ON_LOOP;
  // Ends a job that waited too long for such a cause. The job must exist.
  void EndHopeless(const std::string& id, const WaitingReason& waiting, absl::Duration waited) ON_LOOP;
  bool BelongsToAnother(const v1::Hello& hello, const std::shared_ptr<WorkerLink>& link) const ON_LOOP;
  // What the worker should hold by the facts and does not by its Hello.
  void LoseAllBut(const std::set<TaskRef>& held, const std::string& worker) ON_LOOP;
  void KeepFacts(const v1::Hello& hello) ON_LOOP;
  void SendWelcome(const std::string& worker) ON_LOOP;
  void TakeUpHeld(const v1::Hello& hello) ON_LOOP;

  const Options options_;
  FactsRecorder& facts_;
  JobLifecycle& jobs_;
  TaskAttempts& attempts_;
  WorkerLinks& workers_;
  Metrics& metrics_;
  const Clock& clock_;
  std::map<std::string, Progress> progress_ OF_LOOP;  // by token
  struct Wait {
    v1::Waiting::Cause cause = v1::Waiting::CAUSE_UNSPECIFIED;
    absl::Duration since;  // monotonic
  };
  std::map<std::string, Wait> waits_ OF_LOOP;  // by job
  bool recovering_ OF_LOOP = false;
  absl::Duration recovery_until_ OF_LOOP;
  absl::Duration last_tick_ OF_LOOP = absl::InfiniteDuration();
  int ticks_of_grace_ OF_LOOP = 0;
};

}  // namespace quantmoe
