// Time as a dependency: code that decides by time is given a Clock, so that tests can move it by hand.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quantmoe {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time, for records that people read.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start that never goes back, for leases and timeouts.
  virtual absl::Duration Monotonic() const = 0;

  // The process-wide real clock.
  static const Clock& Real();
};

}  // namespace quantmoe
