// A named pool of threads for work that may block: files, model headers, reports. gRPC reactions queue here.
// What runs in it can ask CheckInterrupted (base/interruption.h) whether it is still wanted.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantmoe {

// Thread-safe.
class Executor {
 public:
  // `name` shows in thread listings; at most 12 characters.
  Executor(std::string name, int threads, size_t max_queued);
  ~Executor();

  // Queues work; false when the queue is full or the pool has stopped, and then the work never runs.
  [[nodiscard]] bool Post(std::function<void()> work);
  // From now on work is interrupted with UNAVAILABLE SHUTTING_DOWN wherever it asks.
  void Interrupt() { interrupted_ = true; }
  // Interrupts, runs what is queued, so that everybody gets an answer, then ends the threads. Idempotent.
  void Stop();

 private:
  void WorkLoop();
  bool HasNewsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); }

  const std::string name_;
  const size_t max_queued_;
  std::vector<std::thread> threads_;
  std::atomic<bool> interrupted_{false};
  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quantmoe
