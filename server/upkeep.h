// What happens because time passes: leases, steps to start again, gauges, progress for watchers, looks at the
// disk, garbage collection.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

#include "server/garbage_collection.h"
#include "server/service_context.h"

namespace quantmoe {

class Upkeep {
 public:
  struct Options {
    SchedulingLimits limits;
    absl::Duration blob_min_age;
    absl::Duration garbage_interval;
  };
  Upkeep(ServiceContext& context, Options options)
      : context_(context), options_(options), garbage_(context, options.blob_min_age) {}

  void Tick() ON_LOOP;
  // True while ticks come: the commit loop is alive and gets through its commits. Thread-safe.
  bool Beats() const;

 private:
  void CountFacts() ON_LOOP;
  // In a room, one look at a time: how much room the disk has. False while one goes on.
  bool LookAtDisk() ON_LOOP;

  ServiceContext& context_;
  const Options options_;
  GarbageCollection garbage_;
  absl::Duration gauges_at_ OF_LOOP = -absl::InfiniteDuration();
  absl::Duration looked_at_ OF_LOOP = -absl::InfiniteDuration();
  absl::Duration garbage_at_ OF_LOOP = -absl::InfiniteDuration();
  std::atomic<bool> looking_at_disk_{false};
  std::atomic<int64_t> last_tick_ms_{0};  // monotonic; 0: none yet
};

}  // namespace quantmoe
