#include "server/wire/http_server.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/status_macros.h"
#include "base/text.h"
#include "net/http_listener.h"
#include "net/listen_address.h"

namespace quantmoe {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kHtmlType[] = "text/html; charset=utf-8";
constexpr char kPlainType[] = "text/plain; charset=utf-8";

using Response = HttpListener::Response;

Response Probe(bool good, const std::string& notice = "") {
  return {good ? 200 : 503, kPlainType,
          absl::StrCat(good ? "ok\n" : "unavailable\n", notice, notice.empty() ? "" : "\n")};
}

Response Show(const absl::StatusOr<std::string>& body, const char* type) {
  if (body.ok()) return {200, type, *body};
  const int status = absl::IsNotFound(body.status())             ? 404
                     : absl::IsFailedPrecondition(body.status()) ? 409
                                                                 : 503;
  return {status, kPlainType, absl::StrCat(PlainLines(body.status().message()), "\n")};
}

bool IsJobId(absl::string_view id) {
  return !id.empty() &&
         id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
             absl::string_view::npos;
}

Response ShowPage(const HttpServer::Pages& pages, const std::string& path) {
  if (path == "/") return Show(pages.jobs(), kHtmlType);
  absl::string_view id = path;
  if (absl::ConsumePrefix(&id, "/jobs/")) {
    if (absl::ConsumeSuffix(&id, "/report") && IsJobId(id)) {
      return Show(pages.report(std::string(id)), kHtmlType);
    }
    if (absl::ConsumeSuffix(&id, "/report.json") && IsJobId(id)) {
      return Show(pages.report_json(std::string(id)), "application/json");
    }
  }
  return {404, kPlainType, "not found\n"};
}

}  // namespace

struct HttpServer::State {
  std::unique_ptr<HttpListener> listener;
};

HttpServer::HttpServer() : state_(std::make_unique<State>()) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address, Pages pages,
                                                              size_t max_connections) {
  ASSIGN_OR_RETURN(const ListenAddress parsed, ParseListenAddress(address));
  HttpListener::Handlers handlers;
  handlers.quick = [pages](const std::string& path) -> std::unique_ptr<Response> {
    if (path == "/healthz") return std::make_unique<Response>(Probe(pages.healthy()));
    if (path == "/readyz") return std::make_unique<Response>(Probe(pages.ready(), pages.notice()));
    if (path == "/metrics") return std::make_unique<Response>(Response{200, kMetricsType, pages.metrics()});
    return nullptr;
  };
  handlers.page = [pages](const std::string& path) { return ShowPage(pages, path); };
  std::unique_ptr<HttpServer> http(new HttpServer);
  ASSIGN_OR_RETURN(http->state_->listener,
                   HttpListener::Start(parsed.host, parsed.port, std::move(handlers),
                                       {.max_connections = static_cast<int>(max_connections)}));
  http->address_ = absl::StrCat(parsed.host, ":", http->state_->listener->port());
  return http;
}

HttpServer::~HttpServer() = default;

}  // namespace quantmoe
