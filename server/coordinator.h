// The coordinator in one object: store, facts, decisions and listeners.
//
//   CoordinatorOptions options{.data_dir = dir, .models = {.roots = {root}}};
//   ASSIGN_OR_RETURN(auto coordinator, Coordinator::Start(options));
//   ... coordinator->address() ...
//
// Addresses are host:port; port 0 chooses one. Without TLS everyone who can connect may do everything:
// main.cc refuses that beyond loopback.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "server/coordinator_options.h"

namespace quantmoe {

struct CoordinatorState;

class Coordinator {
 public:
  // FAILED_PRECONDITION DATA_DIR_IN_USE, STORE_EMPTY or STORE_FOREIGN, DATA_LOSS STORE_DAMAGED, UNAVAILABLE
  // ADDRESS_IN_USE or DISK_READ_ONLY, RESOURCE_EXHAUSTED DISK_FULL.
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
  void TellStreams();
  explicit Coordinator(std::unique_ptr<CoordinatorState> state);
  std::unique_ptr<CoordinatorState> state_;
};

}  // namespace quantmoe
