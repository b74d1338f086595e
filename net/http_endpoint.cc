#include "net/http_endpoint.h"

#include <microhttpd.h>

#include <atomic>
#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include <sys/socket.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "net/listen_address.h"
#include "net/listen_socket.h"

namespace quantmoe {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

using Response = HttpEndpoint::Response;

// One request from its first line to its answer.
struct Exchange {
  MHD_Connection* connection = nullptr;
  std::string path;
  std::unique_ptr<Response> response;
  bool asked = false;  // a page was queued
};

Response Refusal(int status, std::string text) { return {.status = status, .body = std::move(text) + "\n"}; }

Response Probe(bool good, const std::string& notice = "") {
  return {.status = good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
          .body = absl::StrCat(good ? "ok\n" : "unavailable\n", notice, notice.empty() ? "" : "\n")};
}

// The answer to a path that is no page; nothing when it is one.
std::unique_ptr<Response> AnswerProbe(const HttpEndpoint::Answers& answers, const std::string& path) {
  const auto is = [](Response response) { return std::make_unique<Response>(std::move(response)); };
  if (path == "/metrics") return is({MHD_HTTP_OK, kMetricsType, answers.metrics()});
  if (path == "/healthz") return is(Probe(answers.healthy == nullptr || answers.healthy()));
  if (path == "/readyz") return is(Probe(answers.ready(), answers.notice == nullptr ? "" : answers.notice()));
  return nullptr;
}

MHD_Result Send(MHD_Connection* connection, const Response& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.type.c_str());
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (answer.status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  const MHD_Result queued = MHD_queue_response(connection, static_cast<unsigned>(answer.status), response);
  MHD_destroy_response(response);
  return queued;
}

bool AnnouncesBody(MHD_Connection* connection) {
  const char* length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") != nullptr ||
         (length != nullptr && absl::string_view(length) != "0");
}

}  // namespace

struct HttpEndpoint::State {
  State(Answers a, Limits l) : answers(std::move(a)), limits(l) {}

  const Answers answers;
  const Limits limits;
  std::string address;
  int port = 0;
  MHD_Daemon* daemon = nullptr;
  std::vector<std::thread> page_threads;

  // Of the serving thread: connections by their age.
  struct Connection {
    int fd = -1;
    bool waits_for_client = true;
  };
  int64_t next_number = 0;
  std::map<int64_t, Connection> connections;

  absl::Mutex mutex;
  std::deque<Exchange*> waiting ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;

  // Reactions of the library, all on the serving thread.
  static MHD_Result OnAccept(void* self, const sockaddr*, socklen_t) {
    static_cast<State*>(self)->MakeRoom();
    return MHD_YES;
  }
  static void OnConnection(void* self, MHD_Connection* connection, void** number,
                           MHD_ConnectionNotificationCode what) {
    static_cast<State*>(self)->Note(connection, number, what);
  }
  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* path, const char* method,
                              const char*, const char*, size_t*, void** exchange) {
    return static_cast<State*>(self)->Serve(connection, path, method, exchange);
  }
  static void OnRequestEnd(void*, MHD_Connection*, void** exchange, MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*exchange);
    *exchange = nullptr;
  }

  // Shuts the oldest connections down that wait for their client, so that idle ones cannot keep others out.
  void MakeRoom() {
    size_t open = connections.size();
    for (auto& [number, connection] : connections) {
      if (open < static_cast<size_t>(limits.max_connections)) return;
      if (!connection.waits_for_client) continue;
      shutdown(connection.fd, SHUT_RDWR);  // the library sees the end of the stream and closes it
      connection.waits_for_client = false;
      --open;
    }
  }

  void Note(MHD_Connection* connection, void** number, MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
      connections[++next_number].fd = info == nullptr ? -1 : info->connect_fd;
      *number = reinterpret_cast<void*>(next_number);
    } else {
      connections.erase(reinterpret_cast<int64_t>(*number));
    }
  }

  void MarkWaiting(MHD_Connection* connection, bool for_client) {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const auto found = connections.find(reinterpret_cast<int64_t>(info->socket_context));
    if (found != connections.end()) found->second.waits_for_client = for_client;
  }

  MHD_Result Serve(MHD_Connection* connection, const char* path, absl::string_view method, void** slot) {
    if (*slot == nullptr) {
      *slot = new Exchange{connection, path, nullptr, false};  // deleted by OnRequestEnd
      // Answered before a body is read, which the library then never does.
      if (method != "GET" && method != "HEAD") {
        return Send(connection, Refusal(MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD"));
      }
      if (AnnouncesBody(connection)) {
        return Send(connection, Refusal(MHD_HTTP_CONTENT_TOO_LARGE, "no request has a body here"));
      }
      return MHD_YES;
    }
    Exchange& exchange = *static_cast<Exchange*>(*slot);
    if (exchange.response == nullptr) exchange.response = AnswerProbe(answers, exchange.path);
    if (exchange.response == nullptr && answers.page == nullptr) {
      exchange.response = std::make_unique<Response>(Refusal(MHD_HTTP_NOT_FOUND, "not found"));
    }
    if (exchange.response == nullptr && AskForPage(exchange)) return MHD_YES;
    MarkWaiting(connection, true);
    return Send(connection, *exchange.response);
  }

  // True when a thread makes the page: the connection sleeps until then.
  bool AskForPage(Exchange& exchange) {
    absl::MutexLock lock(&mutex);
    if (stopping || exchange.asked || waiting.size() >= static_cast<size_t>(limits.max_waiting_pages)) {
      exchange.response =
          std::make_unique<Response>(Refusal(MHD_HTTP_SERVICE_UNAVAILABLE, "too many pages are asked for"));
      return false;
    }
    exchange.asked = true;
    MarkWaiting(exchange.connection, false);
    MHD_suspend_connection(exchange.connection);
    waiting.push_back(&exchange);
    return true;
  }

  bool HasWorkLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return stopping || !waiting.empty(); }

  void MakePages() {
    while (true) {
      Exchange* exchange = nullptr;
      bool late = false;
      {
        absl::MutexLock lock(&mutex);
        mutex.Await(absl::Condition(this, &State::HasWorkLocked));
        if (waiting.empty()) return;
        exchange = waiting.front();
        waiting.pop_front();
        late = stopping;
      }
      exchange->response = std::make_unique<Response>(
          late ? Refusal(MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down") : answers.page(exchange->path));
      MHD_resume_connection(exchange->connection);
    }
  }

  absl::Status Listen(ListenSocket socket) {
    port = socket.port();
    daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, &State::OnAccept, this,
        &State::OnRequest, this, MHD_OPTION_LISTEN_SOCKET, socket.fd(), MHD_OPTION_NOTIFY_CONNECTION,
        &State::OnConnection, this, MHD_OPTION_NOTIFY_COMPLETED, &State::OnRequestEnd, this,
        MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(2 * limits.max_connections),
        MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(limits.idle_seconds),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, static_cast<size_t>(limits.head_bytes), MHD_OPTION_END);
    if (daemon == nullptr) return absl::InternalError("the HTTP server cannot be started");
    socket.Release();  // the library closes it
    if (answers.page == nullptr) return absl::OkStatus();
    for (int i = 0; i < limits.page_threads; ++i) page_threads.emplace_back([this] { MakePages(); });
    return absl::OkStatus();
  }

  ~State() {
    {
      absl::MutexLock lock(&mutex);
      stopping = true;
    }
    for (std::thread& thread : page_threads) thread.join();
    if (daemon != nullptr) MHD_stop_daemon(daemon);
  }
};

HttpEndpoint::HttpEndpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpEndpoint::~HttpEndpoint() = default;

const std::string& HttpEndpoint::address() const { return state_->address; }
int HttpEndpoint::port() const { return state_->port; }

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(const std::string& address, Answers answers,
                                                                  Limits limits) {
  ASSIGN_OR_RETURN(ListenAddress place, ParseListenAddress(address));
  ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, ListenSocket::Bind(place.host, place.port));
  auto state = std::make_unique<State>(std::move(answers), limits);
  RETURN_IF_ERROR(state->Listen(std::move(sockets.front())));
  place.port = state->port;
  state->address = ListenAddressText(place);
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(state)));
}

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(const std::string& address,
                                                                  Answers answers) {
  return Start(address, std::move(answers), Limits());
}

}  // namespace quantmoe
