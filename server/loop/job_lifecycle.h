// What happens to a job from creation to its end: its other tasks when `prepare` is done, tasks that become
// ready or are known from earlier work, publication, cancellation, deletion. On the commit loop's thread;
// whatever reads or writes is done in the rooms and comes back as an operation. After a restart Resume and
// Reconcile start again what was unfinished. What it does about lost blobs is in job_lifecycle_lost_blobs.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "plan/job/job_spec.h"
#include "server/facts/facts_recorder.h"
#include "server/loop/commit_loop.h"
#include "server/loop/disk_reserve.h"
#include "server/loop/metrics.h"
#include "server/loop/result_lookup.h"
#include "server/loop/rooms.h"
#include "server/loop/worker_links.h"
#include "storage/blob_store.h"

namespace quantmoe {

// Which of some blobs the store has no more.
struct BlobCheck {
  std::set<std::string> lost;  // SHA-256
  // Of these, those that no input is but that an input names, as a plan names the tensors of solves. Whoever
  // reads them does not wait for their producers, and so tries again later.
  std::set<std::string> indirect;
  bool restored = false;  // some were lost and came back from where they are from
  bool unknown = false;   // not all could be looked at or fetched now: worth another try
};

struct NewJob {
  std::string id;  // empty: chosen here
  std::string display_name;
  std::map<std::string, std::string> labels;
  v1::JobSpec spec;
  std::shared_ptr<const ResolvedJob> resolved;
  std::string model_json;
  std::string request_id;
  std::string request_hash;
  std::string parent;
  std::vector<std::string> warnings;
};

class JobLifecycle {
 public:
  struct Options {
    std::string artifacts_dir;
    ModelSources models;
    int max_active_jobs = 1000;
    // Brings back a lost text of a spec. NOT_FOUND when it cannot be had again. Blocking.
    std::function<absl::Status(const Digest& digest, const v1::JobSpec& spec)> restore_text = {};
  };
  JobLifecycle(Options options, FactsRecorder& facts, CommitLoop& loop, WorkerLinks& workers,
               StateStore& store, LocalBlobStore& blobs, DiskReserve& disk, Rooms& rooms, Metrics& metrics,
               const Clock& clock);

  // The new job's id, or that of the job this request made before. ALREADY_EXISTS JOB_ALREADY_EXISTS,
  // INVALID_ARGUMENT REQUEST_ID_PAYLOAD_MISMATCH, RESOURCE_EXHAUSTED QUEUE_FULL or DISK_FULL, UNAVAILABLE
  // DISK_READ_ONLY.
  absl::StatusOr<std::string> Create(NewJob job) ON_LOOP;
  // OK while no job has this id. ALREADY_EXISTS JOB_ALREADY_EXISTS.
  absl::Status CheckFree(const std::string& id) const ON_LOOP;
  // Whether an artifact of this id is being put in place, or removed with a job that was deleted.
  bool IsPublishing(const std::string& id) const ON_LOOP { return publishing_.contains(id); }
  // The job that an earlier request with this id made; empty when there is none. REQUEST_ID_PAYLOAD_MISMATCH.
  absl::StatusOr<std::string> FindReplay(const std::string& request_id,
                                         const std::string& request_hash) ON_LOOP;
  // Cancels a running job; does nothing to one that is ending or has ended. The job must exist.
  void Cancel(const std::string& id, absl::string_view reason) ON_LOOP;
  // FAILED_PRECONDITION JOB_NOT_TERMINAL unless `force`. The job must exist.
  absl::Status Delete(const std::string& id, bool force) ON_LOOP;
  void Fail(const std::string& id, const absl::Status& error) ON_LOOP;

  // The job may use workers of this class from now on.
  void Bind(const std::string& id, const std::string& determinism_class) ON_LOOP;
  // Follows up on a task that has just become DONE.
  void FollowUp(const std::string& id, const std::string& label) ON_LOOP;
  // A READY task takes the result of an equal one.
  void FinishFromCache(const std::string& id, const std::string& label,
                       const std::vector<v1::TaskBlob>& outputs) ON_LOOP;
  // Reads every input of the task, and the blob `named` (SHA-256; may be empty) that it failed on, in a room,
  // and tells on the loop's thread which are lost.
  void CheckInputs(const std::string& id, const std::string& label, const std::string& named,
                   const std::function<void(const BlobCheck&)>& then) ON_LOOP;
  // Has the producers of lost blobs run again. The job fails when nobody produces one of them, or a result is
  // lost time after time.
  // `indirect` as in BlobCheck.
  void Reopen(const std::string& id, const std::set<std::string>& lost,
              const std::set<std::string>& indirect = {}) ON_LOOP;
  // A cancelling job without running tasks is CANCELLED.
  void SettleCancellation(const std::string& id) ON_LOOP;
  // Asks the rooms for the look-ups that the operations so far want.
  void StartLookups() ON_LOOP { lookup_.Start(); }
  // After the facts were read: looks again for earlier results of tasks that are READY.
  void Resume() ON_LOOP;
  // Starts steps that no one is doing: after a restart, or when a room was full.
  void Reconcile() ON_LOOP;
  void MarkRunning(const std::string& id) ON_LOOP;
  DiskReserve& disk() { return disk_; }
  // Why a step of the coordinator waits; empty when none of the job does.
  std::string ExplainStep(const std::string& id) const ON_LOOP;

 private:
  // A job, and not another one that was created under its id after it was deleted.
  struct Instance {
    std::string id;
    int64_t create_number = 0;
  };
  // A step of the coordinator that must be tried again.
  struct StepRetry {
    int failures = 0;
    absl::Duration not_before;  // monotonic
    std::string error;
  };
  // Makes READY what waits for nothing any more, and wants to know whether earlier results of it exist.
  void ResolveReadyTasks(const std::string& id, const std::vector<int>& candidates) ON_LOOP;
  void TakeLookedUp(const std::vector<ResultLookup::Answer>& answers) ON_LOOP;
  // Starts the steps of the coordinator that a running job is ready for.
  void StartSteps(const Job& job) ON_LOOP;
  void StartExpansion(const std::string& id) ON_LOOP;
  void FinishExpansion(const Instance& of, absl::StatusOr<std::vector<TaskDefinition>> tasks) ON_LOOP;
  void StartPublishing(const std::string& id) ON_LOOP;
  void FinishPublishing(const Instance& of, absl::StatusOr<server::ArtifactRecord> artifact) ON_LOOP;
  // Removes what is published under the id; a job that is created under it meanwhile waits for that.
  void StartUnpublishing(const std::string& id) ON_LOOP;
  // Expansion or publication failed on the outputs of the task `label`: has lost ones made again, waits for
  // what may come back, or fails the job. `in_step` keeps the step from starting meanwhile.
  void RecoverStep(const std::string& id, const std::string& label, std::set<std::string>& in_step,
                   const absl::Status& error) ON_LOOP;
  bool MayStep(const std::string& id) const ON_LOOP;
  // Null when the job is gone or RUNNING no more.
  const Job* FindRunning(const Instance& of) const ON_LOOP;
  absl::Status Restore(const Digest& digest, const v1::JobSpec& spec) const NEVER_ON_LOOP;
  void CheckBlobs(const std::string& id, std::vector<BlobRef> blobs,
                  const std::function<void(const BlobCheck&)>& then) ON_LOOP;
  void CancelRunningTasks(const Job& job, absl::string_view reason) ON_LOOP;
  void ChangeState(const std::string& id, JobState state, absl::string_view reason,
                   const google::rpc::Status& error = {},
                   const server::ArtifactRecord& artifact = {}) ON_LOOP;

  const Options options_;
  FactsRecorder& facts_;
  CommitLoop& loop_;
  WorkerLinks& workers_;
  LocalBlobStore& blobs_;
  DiskReserve& disk_;
  Rooms& rooms_;
  Metrics& metrics_;
  const Clock& clock_;
  ResultLookup lookup_;
  absl::flat_hash_map<std::string, std::shared_ptr<const ResolvedJob>> resolved_ OF_LOOP;
  std::set<std::string> expanding_ OF_LOOP;
  std::set<std::string> publishing_ OF_LOOP;  // jobs whose directory of the artifact somebody works on
  std::map<std::string, StepRetry> step_retries_ OF_LOOP;  // by job
};

// The event-log row of a task's change.
v1::JobEvent TaskEvent(const Task& task, v1::TaskChanged::Outcome outcome);

}  // namespace quantmoe
