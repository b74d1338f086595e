#include "net/http_listener.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

#include "tests/support/raw_connection.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Response = HttpListener::Response;

class Client : public RawConnection {
 public:
  using RawConnection::RawConnection;

  std::string Get(const std::string& path) {
    return Say(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).Hear();
  }
};

// A page that is being made until it may end.
struct HeldPage {
  absl::Notification began, may_end;
};

HttpListener::Handlers Pages(HeldPage* held = nullptr) {
  HttpListener::Handlers handlers;
  handlers.quick = [](const std::string& path) -> std::unique_ptr<Response> {
    if (path != "/healthz") return nullptr;
    return std::make_unique<Response>(Response{200, "text/plain", "ok\n"});
  };
  handlers.page = [held](const std::string& path) {
    if (held != nullptr && !held->began.HasBeenNotified()) {
      held->began.Notify();
      held->may_end.WaitForNotification();
    }
    return Response{200, "text/html", "page " + path};
  };
  return handlers;
}

TEST(HttpListener, ServesQuickAnswersAndPages) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages()));
  EXPECT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Client(http->port()).Get("/jobs"), HasSubstr("page /jobs"));
  ASSERT_OK_AND_ASSIGN(const auto quick,
                       HttpListener::Start("127.0.0.1", 0, {.quick = Pages().quick, .page = nullptr}));
  EXPECT_THAT(Client(quick->port()).Get("/jobs"), StartsWith("HTTP/1.1 404"));
}

TEST(HttpListener, TakesNoBodies) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages()));
  // Only the head is sent: the answer must not wait for 600 MB.
  EXPECT_THAT(Client(http->port())
                  .Say("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 600000000\r\n\r\n")
                  .Hear(),
              StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Client(http->port())
                  .Say("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n")
                  .Hear(),
              StartsWith("HTTP/1.1 413"));
}

TEST(HttpListener, HeadersAreBounded) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages()));
  std::string head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 4000; ++i) absl::StrAppend(&head, "X-", i, ": ", std::string(50, 'y'), "\r\n");
  EXPECT_THAT(Client(http->port()).Say(head + "\r\n").Hear(), testing::Not(HasSubstr("200 OK")));
}

TEST(HttpListener, SlowAndIdleConnectionsHoldUpNobody) {
  HttpListener::Options options;
  options.max_connections = 8;
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages(), options));
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 40; ++i) {
    idle.push_back(std::make_unique<Client>(http->port()));
    idle.back()->Say("GET /healthz HTTP/1.1\r\nHost: ");
    ASSERT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 200")) << i;
  }
  EXPECT_EQ(idle.front()->Hear(), "");  // made room
}

TEST(HttpListener, PagesThatAreBeingMadeHoldUpNoProbe) {
  HeldPage held;
  HttpListener::Options options;
  options.page_threads = 1;
  options.max_waiting_pages = 1;
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages(&held), options));
  const std::string page = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  Client made(http->port()), waits(http->port()), refused(http->port());
  made.Say(page);
  held.began.WaitForNotification();
  // The probe's answer says that the request before it was seen.
  waits.Say(page);
  EXPECT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(refused.Say(page).Hear(), StartsWith("HTTP/1.1 503"));
  held.may_end.Notify();
  EXPECT_THAT(made.Hear(), HasSubstr("page /a"));
  EXPECT_THAT(waits.Hear(), HasSubstr("page /a"));
}

TEST(HttpListener, RefusesATakenAddress) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpListener::Start("127.0.0.1", 0, Pages()));
  EXPECT_THAT(HttpListener::Start("127.0.0.1", http->port(), Pages()).status(), HasReason("ADDRESS_IN_USE"));
}

}  // namespace
}  // namespace quantmoe
