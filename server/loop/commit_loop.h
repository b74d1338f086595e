// The one thread that reads and changes facts (facts/loop_thread.h). Operations run one after another, and
// none of them reads or writes a file; what a batch of them changed is committed in one transaction (group
// commit), and only then their effects leave: replies, messages to workers, events to watchers. So nothing
// can be seen outside that a crash could take back. When a commit fails, the facts are reloaded from the
// store and every effect of the batch is told so. When the store says that another coordinator has taken
// over, or cannot be read any more, the process ends.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/timed_wait.h"
#include "server/facts/facts_recorder.h"
#include "server/facts/state_store.h"
#include "server/loop/metrics.h"

namespace quantmoe {

// Exit codes of a coordinator that must not go on: another one holds a newer term; the store cannot be read.
inline constexpr int kExitDeposed = 3;
inline constexpr int kExitStoreLost = 4;

class CommitLoop {
 public:
  struct Hooks {
    std::function<void()> tick;  // an operation at regular intervals
    // After some operations, while others may still join the batch: what they want from the rooms is asked
    // for, so that answers come before the commit.
    std::function<void()> after_operations;
    std::function<void()> before_commit;  // after the operations of a batch: decisions that follow from them
    std::function<void()> after_reload;   // the facts were replaced
    std::function<void(const std::set<std::string>& jobs)> news;  // committed: jobs whose log grew
  };
  CommitLoop(StateStore& store, FactsRecorder& facts, Metrics& metrics)
      : store_(store), facts_(facts), metrics_(metrics) {}
  ~CommitLoop() { Stop(); }

  void Start(Hooks hooks, absl::Duration tick_interval);
  // Runs what is queued, then ends. Operations that are posted later never run.
  void Stop();

  // Thread-safe, never blocks for long. For operations whose number their source bounds: what runs already
  // must be able to end.
  void Post(std::function<void()> operation);
  // Post for operations that clients ask for: false when so many wait that one more had better come later.
  [[nodiscard]] bool Offer(std::function<void()> operation);
  // Only inside an operation or hook: runs `effect` with the result of the commit. It must not block.
  void AfterCommit(std::function<void(const absl::Status& committed)> effect) ON_LOOP;

 private:
  static constexpr size_t kMaxBatch = 64;
  static constexpr size_t kMaxQueued = 4096;
  static constexpr absl::Duration kMaxLinger = absl::Milliseconds(2);

  void Run();
  // Waits for operations until `deadline` of the monotonic clock and takes at most `limit`.
  std::vector<std::function<void()>> Take(size_t limit, absl::Duration deadline);
  void RunBatch(const std::vector<std::function<void()>>& first) ON_LOOP;
  void RunOperations(const std::vector<std::function<void()>>& operations) ON_LOOP;
  // Waits for the disk: replies and assignments of a batch may not leave before it is durable, and the next
  // batch builds on it. What comes meanwhile is the next batch.
  void CommitBatch() ON_LOOP;
  // After a commit that failed: the facts are those of the store again, or the process ends.
  void Recover(const absl::Status& failure) ON_LOOP;
  bool HasWorkLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); }

  StateStore& store_;
  FactsRecorder& facts_;
  Metrics& metrics_;
  Hooks hooks_;
  absl::Duration tick_interval_;
  std::thread thread_;
  std::vector<std::function<void(const absl::Status&)>> effects_ OF_LOOP;

  absl::Mutex mutex_;
  TimedWait posted_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quantmoe
