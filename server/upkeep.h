// What happens because time passes: leases, steps to start again, gauges, progress for watchers, garbage
// collection.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

#include "server/core.h"

namespace quantmoe {

class Upkeep {
 public:
  struct Options {
    SchedulingLimits limits;
    absl::Duration blob_min_age;
    absl::Duration garbage_interval;
  };
  Upkeep(Core& core, Executor& steps, Options options) : core_(core), steps_(steps), options_(options) {}

  // On the commit loop's thread.
  void Tick();
  // True while ticks come: the commit loop is alive and gets through its commits. Thread-safe.
  bool Beats() const;

 private:
  void CollectGarbage(absl::Duration min_age);
  void RefreshGauges();
  // False for as long as young blobs are kept after the wall clock was set, by which files tell their age.
  bool AgesAreKnown();

  Core& core_;
  Executor& steps_;
  const Options options_;
  absl::Duration gauges_at_ = -absl::InfiniteDuration();
  absl::Duration garbage_at_ = -absl::InfiniteDuration();
  absl::Time clock_origin_ = absl::InfinitePast();  // wall time at the start of the monotonic clock
  absl::Duration ages_known_from_ = -absl::InfiniteDuration();
  std::atomic<int64_t> last_tick_ms_{0};  // monotonic; 0: none yet
};

}  // namespace quantmoe
