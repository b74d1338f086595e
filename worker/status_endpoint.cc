#include "worker/status_endpoint.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace quantmoe {
namespace {

using Response = HttpListener::Response;

std::unique_ptr<Response> Answer(const StatusEndpoint::Pages& pages, const std::string& path) {
  Response response;
  if (path == "/metrics") {
    response.type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = pages.metrics();
  } else if (path == "/healthz") {
    response.body = "ok\n";
  } else if (path == "/readyz") {
    const bool ready = pages.ready();
    response.status = ready ? 200 : 503;
    response.body = ready ? "ready\n" : "not ready\n";
  } else {
    return nullptr;
  }
  return std::make_unique<Response>(std::move(response));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StatusEndpoint>> StatusEndpoint::Start(const std::string& address,
                                                                      Pages pages) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", address, "\" is not host:port"));
  }
  HttpListener::Handlers handlers;
  handlers.quick = [pages = std::move(pages)](const std::string& path) { return Answer(pages, path); };
  ASSIGN_OR_RETURN(auto listener, HttpListener::Start(address.substr(0, colon), port, std::move(handlers)));
  return std::unique_ptr<StatusEndpoint>(new StatusEndpoint(std::move(listener)));
}

}  // namespace quantmoe
