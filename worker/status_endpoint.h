// The worker's HTTP side, for probes and Prometheus: /metrics, /healthz (the process answers) and /readyz (a
// session is established and the worker is not draining). Serves from its own thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace httplib {
class Server;
}

namespace quantmoe {

class StatusEndpoint {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    std::function<bool()> ready;
  };

  // `address` is host:port; port 0 chooses one. UNAVAILABLE when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<StatusEndpoint>> Start(const std::string& address, Pages pages);
  ~StatusEndpoint();

  int port() const { return port_; }

 private:
  explicit StatusEndpoint(Pages pages);

  const Pages pages_;
  std::unique_ptr<httplib::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace quantmoe
