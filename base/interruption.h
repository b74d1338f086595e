// Work that is no longer wanted: its caller has gone, or the program ends. Whoever starts work on a thread
// says how that is known; whatever may take long on that thread (reads from outside, waits, loops over much)
// asks, and ends with the status it gets.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantmoe {

// OK while the work is wanted. Thread-safe, cheap, never blocks.
using InterruptionCheck = std::function<absl::Status()>;

// While it lives, `check` holds for the thread that made it, beside those that held before.
class InterruptionScope {
 public:
  explicit InterruptionScope(InterruptionCheck check);
  ~InterruptionScope();
  InterruptionScope(const InterruptionScope&) = delete;
  InterruptionScope& operator=(const InterruptionScope&) = delete;

  absl::Status Check() const;

 private:
  const InterruptionCheck check_;
  const InterruptionScope* const outer_;
};

// Whether what this thread does is still wanted: OK, or why not. Always OK where nobody said how it is known.
absl::Status CheckInterrupted();

// Sleeps for `duration`, in steps; ends early with the status of an interruption.
absl::Status SleepUnlessInterrupted(absl::Duration duration);

}  // namespace quantmoe
