// Waiting with a timeout on the monotonic clock. The timed waits of the abseil we build with follow the wall
// clock: when that is set back by an hour, a wait of a second takes an hour.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quantmoe {

// Thread-safe. Belongs to one mutex; whoever changes what a wait looks at calls NotifyAll, or the wait sees
// it at its next timeout.
class TimedWait {
 public:
  // Unlocks `mutex` and waits until `condition` holds, for `timeout` at most. Whether it holds; the mutex is
  // locked again.
  template <typename Condition>
  bool AwaitFor(absl::Mutex& mutex, absl::Duration timeout, const Condition& condition)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const absl::Duration bounded = std::clamp(timeout, absl::ZeroDuration(), kLongest);
    Lockable lockable{mutex};
    return changed_.wait_until(
        lockable, std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(bounded), condition);
  }
  void NotifyAll() { changed_.notify_all(); }

 private:
  static constexpr absl::Duration kLongest = absl::Hours(24 * 365);

  // The names that the standard library wants.
  struct Lockable {
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Unlock(); }
    absl::Mutex& mutex;
  };

  std::condition_variable_any changed_;
};

// A MutexLock that notifies a wait when it is released.
class ABSL_SCOPED_LOCKABLE NotifyingLock {
 public:
  NotifyingLock(absl::Mutex* mutex, TimedWait* wait) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex), wait_(wait) {
    mutex_->Lock();
  }
  ~NotifyingLock() ABSL_UNLOCK_FUNCTION() {
    wait_->NotifyAll();
    mutex_->Unlock();
  }
  NotifyingLock(const NotifyingLock&) = delete;
  NotifyingLock& operator=(const NotifyingLock&) = delete;

 private:
  absl::Mutex* const mutex_;
  TimedWait* const wait_;
};

}  // namespace quantmoe
