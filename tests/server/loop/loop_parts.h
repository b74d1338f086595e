// A commit loop and those who work on it, over an empty folder: the base of tests that call them directly.
#pragma once

#include <memory>

#include "server/facts/sqlite_store.h"
#include "server/loop/job_lifecycle.h"
#include "server/loop/job_watchers.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {

class LoopParts {
 protected:
  const TemporaryDirectory dir_;
  FakeClock clock_;
  std::unique_ptr<SqliteStore> store_ = *SqliteStore::Open(dir_ / "data", clock_.Now());
  std::unique_ptr<LocalBlobStore> blobs_ = *LocalBlobStore::Open(dir_ / "blobs");
  DiskReserve disk_{{.dir = dir_ / "data", .bytes = 0}};
  Metrics metrics_{"0", /*term=*/1};
  Rooms rooms_;
  FactsRecorder facts_{*store_, clock_};
  JobWatchers watchers_{metrics_};
  CommitLoop loop_{*store_, facts_, metrics_};
  WorkerLinks links_{loop_};
  JobLifecycle jobs_{{.artifacts_dir = dir_ / "artifacts", .models = {}},
                     facts_,
                     loop_,
                     links_,
                     *store_,
                     *blobs_,
                     disk_,
                     rooms_,
                     metrics_,
                     clock_};
};

}  // namespace quantmoe
