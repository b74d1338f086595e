#include "worker/status_endpoint.h"

#include <httplib.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace quantmoe {

StatusEndpoint::StatusEndpoint(Pages pages)
    : pages_(std::move(pages)), server_(std::make_unique<httplib::Server>()) {
  server_->new_task_queue = [] { return new httplib::ThreadPool(2); };
  // The default options would let a second process take the same port.
  server_->set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(pages_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  });
  server_->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server_->Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
    const bool ready = pages_.ready();
    response.status = ready ? 200 : 503;
    response.set_content(ready ? "ready\n" : "not ready\n", "text/plain");
  });
}

absl::StatusOr<std::unique_ptr<StatusEndpoint>> StatusEndpoint::Start(const std::string& address,
                                                                      Pages pages) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", address, "\" is not host:port"));
  }
  const std::string host = address.substr(0, colon);
  std::unique_ptr<StatusEndpoint> endpoint(new StatusEndpoint(std::move(pages)));
  httplib::Server& server = *endpoint->server_;
  endpoint->port_ = port == 0                                 ? server.bind_to_any_port(host.c_str())
                    : server.bind_to_port(host.c_str(), port) ? port
                                                              : -1;
  if (endpoint->port_ <= 0) return absl::UnavailableError(absl::StrCat("cannot listen on ", address));
  endpoint->thread_ = std::thread([&server] { server.listen_after_bind(); });
  return endpoint;
}

StatusEndpoint::~StatusEndpoint() {
  // Before the loop runs, stop() would be lost.
  while (thread_.joinable() && !server_->is_running()) std::this_thread::yield();
  server_->stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace quantmoe
