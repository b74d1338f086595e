// What a program says over HTTP: /metrics for Prometheus, /healthz (the process lives) and /readyz (it may be
// given work) for probes, and pages for people. GET and HEAD, no bodies, every resource bounded. One thread
// serves all connections by events, so a slow client holds up nobody; pages are made by threads of their own.
// Over libmicrohttpd, which no header of ours includes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quantmoe {

class HttpEndpoint {
 public:
  struct Response {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
  };
  struct Limits {
    // Beyond it the connection that waits longest is closed for a new one.
    int max_connections = 64;
    // Without a byte in either direction a connection ends.
    int idle_seconds = 10;
    // Request line and headers together; more are answered with 431.
    int head_bytes = 16 << 10;
    // Pages that may be made at once, and that may wait for it; beyond them the answer is 503.
    int page_threads = 2;
    int max_waiting_pages = 16;
  };
  struct Answers {
    // Asked on the serving thread, so they must not block.
    std::function<std::string()> metrics;
    // Unset: it lives as long as it answers.
    std::function<bool()> healthy;
    std::function<bool()> ready;
    // A line that /readyz says beside "ok" while not all of the work can be done; empty, or unset: nothing.
    std::function<std::string()> notice;
    // Any other path, on a thread for pages; it may block. Unset: there is no other path.
    std::function<Response(const std::string& path)> page;
  };

  // `address` is host:port; port 0 chooses one. INVALID_ARGUMENT INVALID_FIELD for other texts; UNAVAILABLE
  // ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const std::string& address, Answers answers,
                                                             Limits limits);
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const std::string& address, Answers answers);
  // Ends all connections. Waits for the pages that are being made.
  ~HttpEndpoint();

  // host:port that it listens on.
  const std::string& address() const;
  int port() const;

 private:
  struct State;
  explicit HttpEndpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quantmoe
