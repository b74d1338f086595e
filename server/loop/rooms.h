// The rooms in which blocking work is done. Each kind of work has its own, so that what is slow in one (a hub
// that does not answer, a disk that is busy with uploads) holds up nothing in another: above all not the
// commit of results.
#pragma once

#include "absl/strings/string_view.h"

#include "quantmoe/v1/types.pb.h"
#include "server/loop/executor.h"

namespace quantmoe {

struct Rooms {
  static constexpr size_t kMaxQueued = 1024;

  Executor results{"results", 2, kMaxQueued};  // outputs of tasks, before their commit
  Executor watches{"watches", 2, kMaxQueued};  // pages of event logs for those who follow them
  Executor reads{"reads", 2, kMaxQueued};      // reports and lists
  Executor models{"models", 2, kMaxQueued};    // checkpoints in directories
  Executor hub{"hub", 4, kMaxQueued};          // checkpoints and data sets of the Hub
  Executor object_stores{"object-store", 4, kMaxQueued};
  Executor blobs{"blobs", 2, kMaxQueued};  // uploads and downloads of clients
  Executor worker_blobs{"worker-blobs", 2, kMaxQueued};
  Executor steps{"steps", 2, kMaxQueued};      // expansion of graphs, publication, garbage
  Executor lookups{"lookups", 1, kMaxQueued};  // earlier results of tasks that are about to run
  Executor disk{"disk", 1, kMaxQueued};        // how much room there is

  // Where the model or data set behind a URI is read.
  Executor& For(absl::string_view uri);
  // Where everything that a spec names is read: the slowest of its places.
  Executor& For(const v1::JobSpec& spec);

  // Reads from outside end now, with UNAVAILABLE SHUTTING_DOWN: they may take longer than a stop may.
  void InterruptReadsFromOutside();
  void Stop();
};

}  // namespace quantmoe
