// The coordinator in one object: store, facts, decisions and listeners.
//
//   CoordinatorOptions options{.data_dir = dir, .models = {.roots = {root}}};
//   ASSIGN_OR_RETURN(auto coordinator, Coordinator::Start(options));
//   ... coordinator->address() ...
//
// Addresses are host:port; port 0 chooses one. Without TLS everyone who can connect may do everything:
// main.cc refuses that beyond loopback.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "sources/model_sources.h"

namespace quantmoe {

struct TlsFiles {
  std::string certificate;  // PEM; empty: no TLS
  std::string key;
  std::string client_ca;  // workers must show a certificate of this authority; empty: none is asked for
};

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
  const Clock* clock = &Clock::Real();
};

class Coordinator {
 public:
  // FAILED_PRECONDITION DATA_DIR_IN_USE, STORE_EMPTY or STORE_FOREIGN, DATA_LOSS STORE_DAMAGED, UNAVAILABLE
  // ADDRESS_IN_USE, RESOURCE_EXHAUSTED DISK_FULL.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(CoordinatorOptions options);
  // Stops.
  ~Coordinator();

  // host:port of each listener.
  const std::string& address() const;
  const std::string& worker_address() const;
  const std::string& http_address() const;

  // Not ready any more, streams are told, calls in flight are answered, then everything ends, within 10 s:
  // reads from outside are given up. Running tasks go on: their workers come back to the next coordinator.
  // Idempotent.
  void Stop();

 private:
  struct State;
  void TellStreams();
  explicit Coordinator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quantmoe
