// What probes and Prometheus read: /metrics, /healthz (the process lives), /readyz (it may be given work);
// and for people / (the jobs), /jobs/<id>/report (a page) and /jobs/<id>/report.json.
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
    // What /readyz says beside "ok" while the coordinator answers but cannot do all of its work; empty:
    // nothing.
    std::function<std::string()> notice;
    // Pages for people. The JSON of a report is called with the job's id.
    std::function<absl::StatusOr<std::string>()> jobs;
    std::function<absl::StatusOr<std::string>(const std::string&)> report;
    std::function<absl::StatusOr<std::string>(const std::string&)> report_json;
  };
  // `address` is host:port; port 0 chooses one. UNAVAILABLE ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, Pages pages,
                                                           size_t max_connections = 64);
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
