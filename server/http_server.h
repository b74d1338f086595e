// What probes and Prometheus read: /metrics, /healthz (the process lives), /readyz (it may be given work).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quantmoe {

class HttpServer {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    std::function<bool()> healthy;
    std::function<bool()> ready;
  };
  // `address` is host:port; port 0 chooses one. UNAVAILABLE ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, Pages pages);
  ~HttpServer();
  // host:port that it listens on.
  const std::string& address() const { return address_; }

 private:
  struct State;
  HttpServer();
  std::unique_ptr<State> state_;
  std::string address_;
};

}  // namespace quantmoe
