// The worker's HTTP side, for probes and Prometheus: /metrics, /healthz (the process answers) and /readyz (a
// session is established and the worker is not draining). Serves from its own thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "net/http_listener.h"

namespace quantmoe {

class StatusEndpoint {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    std::function<bool()> ready;
  };

  // `address` is host:port; port 0 chooses one. UNAVAILABLE when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<StatusEndpoint>> Start(const std::string& address, Pages pages);

  int port() const { return listener_->port(); }

 private:
  explicit StatusEndpoint(std::unique_ptr<HttpListener> listener) : listener_(std::move(listener)) {}

  std::unique_ptr<HttpListener> listener_;
};

}  // namespace quantmoe
