// A small HTTP server for probes, metrics and pages: GET and HEAD, no bodies, every resource bounded. One
// thread serves all connections by events, so a slow client holds up nobody; pages that take long are made by
// threads of their own. Over libmicrohttpd, which no header of ours includes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quantmoe {

class HttpListener {
 public:
  struct Response {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
  };
  struct Options {
    // Beyond it the connection that waits longest is closed for a new one.
    int max_connections = 64;
    // Without a byte in either direction a connection ends.
    int idle_seconds = 10;
    // Pages that may be made at once, and that may wait for it; beyond them the answer is 503.
    int page_threads = 2;
    int max_waiting_pages = 16;
  };
  struct Handlers {
    // The answer at once, on the serving thread; nothing when the path is none of these. It must not block.
    std::function<std::unique_ptr<Response>(const std::string& path)> quick;
    // Any other path, on a thread for pages; it may block.
    std::function<Response(const std::string& path)> page;
  };

  // Port 0 chooses one. UNAVAILABLE ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<HttpListener>> Start(const std::string& host, int port,
                                                             Handlers handlers, Options options);
  static absl::StatusOr<std::unique_ptr<HttpListener>> Start(const std::string& host, int port,
                                                             Handlers handlers);
  // Ends all connections. Waits for the pages that are being made.
  ~HttpListener();
  int port() const;

 private:
  struct State;
  explicit HttpListener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quantmoe
