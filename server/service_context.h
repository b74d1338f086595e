// What the services work with. Owned by the coordinator, which outlives every call.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "server/facts/facts_recorder.h"
#include "server/facts/loop_thread.h"
#include "server/loop/commit_loop.h"
#include "server/loop/disk_reserve.h"
#include "server/loop/job_lifecycle.h"
#include "server/loop/job_watchers.h"
#include "server/loop/metrics.h"
#include "server/loop/rooms.h"
#include "server/loop/task_attempts.h"
#include "server/loop/worker_links.h"
#include "server/loop/worker_sessions.h"
#include "storage/blob_store.h"

namespace quantmoe {

inline constexpr char kApiVersion[] = "v1";
// gRPC's default limit of a message is 4 MiB.
inline constexpr int64_t kChunkBytes = int64_t{2} << 20;
inline constexpr int64_t kMaxChunkBytes = int64_t{3} << 20;

struct ServiceContext {
  std::string data_dir;
  std::string artifacts_dir;
  ModelSources models;
  // Blobs that stand for texts that a spec does not name.
  Digest calibration_prose;
  Digest heldout_prose;
  int64_t term = 0;  // of this coordinator

  const Clock& clock;
  Metrics& metrics;
  DiskReserve& disk;
  CommitLoop& loop;
  Rooms& rooms;

  FactsRecorder& facts OF_LOOP;
  WorkerLinks& links OF_LOOP;
  JobLifecycle& jobs OF_LOOP;
  TaskAttempts& attempts OF_LOOP;
  WorkerSessions& sessions OF_LOOP;
  JobWatchers& watchers OF_LOOP;

  // Both read and write the disk: in the rooms.
  LocalBlobStore& blobs() const NEVER_ON_LOOP { return blob_store; }
  StateStore& store() const NEVER_ON_LOOP { return state_store; }

  LocalBlobStore& blob_store;
  StateStore& state_store;
};

}  // namespace quantmoe
