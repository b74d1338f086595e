// What an operator decides about a coordinator; main.cc has the flags.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"

#include "base/clock.h"
#include "server/wire/tls_files.h"
#include "sources/model_sources.h"

namespace quantmoe {

struct CoordinatorOptions {
  std::string listen_address = "127.0.0.1:0";
  std::string worker_listen_address = "127.0.0.1:0";
  std::string http_listen_address = "127.0.0.1:0";
  std::string data_dir;
  ModelSources models;  // no roots: no model may be opened
  TlsFiles tls;
  absl::Duration lease = absl::Seconds(20);
  absl::Duration heartbeat = absl::Seconds(5);
  absl::Duration no_progress_timeout = absl::Minutes(10);
  absl::Duration unschedulable_timeout = absl::Hours(24);  // then a job without a capable worker fails
  int poison_deaths =
      3;  // attempts of one task that may end with a dead worker before its job fails; 0: no limit
  absl::Duration tick = absl::Milliseconds(250);  // how often time is looked at
  absl::Duration blob_min_age = absl::Hours(24);  // younger blobs and cached results are never collected
  absl::Duration garbage_interval = absl::Hours(1);
  int max_active_jobs = 1000;
  size_t descriptors = 1024;  // that the process may have open; connections take a share of them
  // Room that is kept for the state store (disk_reserve.h); 0: none.
  int64_t disk_reserve_bytes = int64_t{64} << 20;
  // Bytes that may be written below a directory; empty: asks the file system.
  std::function<int64_t(const std::string& dir)> free_bytes = {};
  // Why nothing can be written to a directory, as an errno, or 0; empty: asks the file system.
  std::function<int(const std::string& dir)> write_error = {};
  const Clock* clock = &Clock::Real();
};

}  // namespace quantmoe
