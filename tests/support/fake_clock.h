// A clock that moves only when a test says so. Thread-safe.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/clock.h"

namespace quantmoe {

class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1'700'000'000)) : start_(start) {}

  absl::Time Now() const override {
    absl::MutexLock lock(&mutex_);
    return start_ + set_by_ + elapsed_;
  }
  absl::Duration Monotonic() const override {
    absl::MutexLock lock(&mutex_);
    return elapsed_;
  }

  void Advance(absl::Duration step) {
    absl::MutexLock lock(&mutex_);
    elapsed_ += step;
  }
  // Sets the wall clock forward, or back; no time passes.
  void SetWallClockBy(absl::Duration step) {
    absl::MutexLock lock(&mutex_);
    set_by_ += step;
  }

 private:
  const absl::Time start_;
  mutable absl::Mutex mutex_;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mutex_);
  absl::Duration set_by_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
