#include "server/http_server.h"

#include <httplib.h>

#include <thread>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "server/listen_address.h"

namespace quantmoe {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kHtmlType[] = "text/html; charset=utf-8";
constexpr int kThreads = 2;

void Answer(httplib::Response& response, bool good) {
  response.status = good ? 200 : 503;
  response.set_content(good ? "ok\n" : "unavailable\n", "text/plain");
}

void Answer(httplib::Response& response, const absl::StatusOr<std::string>& body, const char* type) {
  if (body.ok()) return response.set_content(*body, type);
  response.status = absl::IsNotFound(body.status())             ? 404
                    : absl::IsFailedPrecondition(body.status()) ? 409
                                                                : 503;
  response.set_content(absl::StrCat(body.status().message(), "\n"), "text/plain");
}

void AddPeoplesPages(httplib::Server& server, const HttpServer::Pages& pages) {
  server.Get("/", [jobs = pages.jobs](const httplib::Request&, httplib::Response& response) {
    Answer(response, jobs(), kHtmlType);
  });
  server.Get(R"(/jobs/([A-Za-z0-9._-]+)/report)",
             [report = pages.report](const httplib::Request& request, httplib::Response& response) {
               Answer(response, report(request.matches[1]), kHtmlType);
             });
  server.Get(R"(/jobs/([A-Za-z0-9._-]+)/report\.json)",
             [report = pages.report_json](const httplib::Request& request, httplib::Response& response) {
               Answer(response, report(request.matches[1]), "application/json");
             });
}

}  // namespace

struct HttpServer::State {
  httplib::Server server;
  std::thread thread;
};

HttpServer::HttpServer() : state_(std::make_unique<State>()) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address, Pages pages) {
  ASSIGN_OR_RETURN(const ListenAddress parsed, ParseListenAddress(address));
  std::unique_ptr<HttpServer> http(new HttpServer);
  httplib::Server& server = http->state_->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };  // owned by the server
  server.Get("/metrics", [metrics = pages.metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics(), kMetricsType);
  });
  server.Get("/healthz", [healthy = pages.healthy](const httplib::Request&, httplib::Response& response) {
    Answer(response, healthy());
  });
  server.Get("/readyz", [ready = pages.ready](const httplib::Request&, httplib::Response& response) {
    Answer(response, ready());
  });
  AddPeoplesPages(server, pages);
  int port = parsed.port;
  const bool bound =
      port == 0 ? (port = server.bind_to_any_port(parsed.host)) > 0 : server.bind_to_port(parsed.host, port);
  if (!bound) {
    return MakeError(absl::StatusCode::kUnavailable, "ADDRESS_IN_USE",
                     absl::StrCat("cannot listen on ", address));
  }
  http->address_ = absl::StrCat(parsed.host, ":", port);
  http->state_->thread = std::thread([state = http->state_.get()] { state->server.listen_after_bind(); });
  return http;
}

HttpServer::~HttpServer() {
  state_->server.stop();
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace quantmoe
