// Which errors are worth another try, and how long to wait before it. The one place that knows either.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantmoe {

// UNAVAILABLE, ABORTED and DEADLINE_EXCEEDED: the same call may succeed later.
bool IsRetryable(const absl::Status& status);

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(500);
  absl::Duration maximum = absl::Seconds(5);
  double multiplier = 2.0;
};

// Exponential backoff with full jitter. Not thread-safe.
class Backoff {
 public:
  explicit Backoff(BackoffOptions options) : options_(options) {}

  // The time to wait before the next try: uniform in [0, initial * multiplier^n], capped.
  absl::Duration Next();
  void Reset() { tries_ = 0; }

 private:
  BackoffOptions options_;
  int tries_ = 0;
};

}  // namespace quantmoe
