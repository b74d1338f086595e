// Collections of blobs and cached results that nobody needs. One looks at the facts as they are when it
// starts, reads what the store remembers, has old results forgotten, and once that is committed deletes the
// blobs that are not live and that nobody has asked for since it started. Only the facts are used on the
// commit loop; reading and deleting is done in the room of steps.
#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"

#include "server/decide/garbage.h"
#include "server/service_context.h"

namespace quantmoe {

class GarbageCollection {
 public:
  // `blob_min_age`: how long blobs stay young after the wall clock was set, by which files tell their age.
  GarbageCollection(ServiceContext& context, absl::Duration blob_min_age)
      : context_(context), blob_min_age_(blob_min_age) {}

  // Collects what is older than `min_age`, unless ages are not known. None may be running.
  void Start(absl::Duration min_age) ON_LOOP;
  bool running() const ON_LOOP { return running_; }

 private:
  struct Run {
    absl::Duration min_age;
    absl::Time now;
    LiveFacts facts;
    Garbage garbage;
  };
  bool AgesAreKnown() ON_LOOP;
  void Find(const std::shared_ptr<Run>& run) NEVER_ON_LOOP;
  void Forget(const std::shared_ptr<Run>& run) ON_LOOP;
  void Sweep(const Run& run) NEVER_ON_LOOP;
  // The next step, in the room, if what came before is committed; else the collection is over.
  void GoOnAfterCommit(std::function<void()> step) ON_LOOP;
  // The end of the collection, from anywhere.
  void End();

  ServiceContext& context_;
  const absl::Duration blob_min_age_;
  bool running_ OF_LOOP = false;
  absl::Time clock_origin_ OF_LOOP = absl::InfinitePast();  // wall time at the start of the monotonic clock
  absl::Duration ages_known_from_ OF_LOOP = -absl::InfiniteDuration();
};

}  // namespace quantmoe
