// Runs one attempt from its specification to an outcome, on the calling thread. The last place where an
// exception of the numerics is caught. Knows no session: what comes out is what the coordinator must be told.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

#include "plan/graph/task_graph.h"
#include "quant/tasks/run_task.h"
#include "quantmoe/v1/worker.pb.h"
#include "storage/blob_store.h"

namespace quantmoe {

// The signature of RunTask, so that the worker needs no libtorch to be built or tested.
using TaskFunction = std::function<absl::StatusOr<std::vector<BlobRef>>(
    TaskKind kind, const std::string& params_json, const std::vector<BlobRef>& inputs, TaskContext& context)>;

// One try at a task, shared by the threads of the worker. The specification and the token never change.
class Attempt {
 public:
  Attempt(v1::TaskSpec spec, std::string token) : spec_(std::move(spec)), token_(std::move(token)) {}

  const v1::TaskSpec& spec() const { return spec_; }
  const std::string& token() const { return token_; }
  v1::AttemptRef ref() const;

  // Asks the computation to end; it looks at the flag often.
  void Cancel() { cancelled_ = true; }
  const std::atomic<bool>& cancelled() const { return cancelled_; }

  // Records that the computation advanced. Called from the computing thread.
  void Advance(double fraction, absl::string_view phase);
  v1::RunningAttempt Progress() const;

 private:
  const v1::TaskSpec spec_;
  const std::string token_;
  std::atomic<bool> cancelled_{false};
  mutable absl::Mutex mutex_;
  int64_t ticks_ ABSL_GUARDED_BY(mutex_) = 0;
  double fraction_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string phase_ ABSL_GUARDED_BY(mutex_) = "queued";
};

struct TaskOutcome {
  absl::Status status;  // OK: `outputs` are the result
  std::vector<BlobRef> outputs;
  double seconds = 0;
  int64_t peak_memory_bytes = 0;  // of the process while the task ran
};

struct RunEnvironment {
  const TaskFunction& run_task;
  BlobStore& blobs;
  const ModelSources& models;
  // What `run_task` computes on; null where it computes nothing.
  const ComputeDevice* device = nullptr;
};

// Never throws: std::bad_alloc becomes RESOURCE_EXHAUSTED, any other exception INTERNAL. An unknown kind is
// UNIMPLEMENTED.
TaskOutcome RunAttempt(Attempt& attempt, const RunEnvironment& environment);

// RESOURCE_EXHAUSTED WORKER_MEMORY {needed_bytes, available_bytes} when the task's estimate is above
// `available_bytes`; 0 means no limit.
absl::Status CheckMemoryNeed(const v1::TaskSpec& task, int64_t available_bytes);

// Which budget of attempts an error is charged to. `status` is not OK.
v1::FailTaskRequest::FailureClass ClassifyFailure(const absl::Status& status);

}  // namespace quantmoe
