// Tasks without numerics: outputs are bytes that depend only on kind, parameters and inputs, as RunTask
// promises, so that equal artifacts mean that scheduling changed nothing. A test can hold tasks to act at a
// chosen moment. Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"

#include "worker/task_runner.h"

namespace quantmoe {

// Calibration and evaluation shards that a synthetic `prepare` finds.
inline constexpr int kSyntheticShards = 2;
inline constexpr int kSyntheticEvaluationShards = 1;

class SyntheticTasks {
 public:
  // The computation of one worker.
  TaskFunction For(const std::string& worker);

  // Tasks of `kind` that begin from now on wait for Release. One that is `frozen` does not even look whether
  // it was cancelled, as a stopped process would not. Another Hold replaces this one.
  void Hold(TaskKind kind, bool frozen = false);
  // Only on this worker.
  void HoldOn(const std::string& worker, TaskKind kind, bool frozen = false);
  void Release();
  // Waits until a task is held; returns its worker. Fails the test after 20 s.
  std::string AwaitHeld();
  // Whether a task is held now.
  bool IsHolding();

  // Tasks that began.
  int started(TaskKind kind);
  int started_on(const std::string& worker);

 private:
  struct Rule {
    std::string worker;  // empty: any
    TaskKind kind = TaskKind::kPrepare;
    bool frozen = false;
  };
  absl::Status Begin(const std::string& worker, TaskKind kind, const TaskContext& context);
  absl::Status WaitForRelease(int64_t rule, const TaskContext& context, bool frozen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::optional<Rule> rule_ ABSL_GUARDED_BY(mutex_);
  int64_t rules_ ABSL_GUARDED_BY(mutex_) = 0;  // counts Hold and Release
  std::multimap<std::string, TaskKind> held_ ABSL_GUARDED_BY(mutex_);
  std::map<TaskKind, int> started_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> started_on_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
