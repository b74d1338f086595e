#include "net/http_endpoint.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

#include "tests/support/raw_connection.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Response = HttpEndpoint::Response;

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

HttpEndpoint::Answers Pages(HeldPage* held = nullptr) {
  HttpEndpoint::Answers answers;
  answers.metrics = [] { return std::string("m 1\n"); };
  answers.ready = [] { return true; };
  answers.page = [held](const std::string& path) {
    if (held != nullptr && !held->began.HasBeenNotified()) {
      held->began.Notify();
      held->may_end.WaitForNotification();
    }
    return Response{200, "text/html", "page " + path};
  };
  return answers;
}

// Port 0 of loopback.
constexpr char kAnyPort[] = "127.0.0.1:0";

TEST(HttpEndpoint, ServesMetricsProbesAndPages) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages()));
  EXPECT_EQ(http->address(), absl::StrCat("127.0.0.1:", http->port()));
  EXPECT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Client(http->port()).Get("/readyz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Client(http->port()).Get("/metrics"), HasSubstr("m 1\n"));
  EXPECT_THAT(Client(http->port()).Get("/jobs"), HasSubstr("page /jobs"));
}

TEST(HttpEndpoint, WithoutPagesOtherPathsAreNotFound) {
  HttpEndpoint::Answers answers = Pages();
  answers.page = nullptr;
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, answers));
  EXPECT_THAT(Client(http->port()).Get("/jobs"), StartsWith("HTTP/1.1 404"));
}

TEST(HttpEndpoint, ProbesSayWhatIsNot) {
  HttpEndpoint::Answers answers = Pages();
  answers.healthy = [] { return false; };
  answers.ready = [] { return false; };
  answers.notice = [] { return std::string("the disk is full"); };
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, answers));
  EXPECT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(Client(http->port()).Get("/readyz"),
              testing::AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("unavailable\nthe disk is full\n")));
}

TEST(HttpEndpoint, TakesNoBodies) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages()));
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

TEST(HttpEndpoint, HeadersAreBounded) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages()));
  std::string head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 4000; ++i) absl::StrAppend(&head, "X-", i, ": ", std::string(50, 'y'), "\r\n");
  EXPECT_THAT(Client(http->port()).Say(head + "\r\n").Hear(), testing::Not(HasSubstr("200 OK")));
}

TEST(HttpEndpoint, SlowAndIdleConnectionsHoldUpNobody) {
  HttpEndpoint::Limits limits;
  limits.max_connections = 8;
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages(), limits));
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 40; ++i) {
    idle.push_back(std::make_unique<Client>(http->port()));
    idle.back()->Say("GET /healthz HTTP/1.1\r\nHost: ");
    ASSERT_THAT(Client(http->port()).Get("/healthz"), StartsWith("HTTP/1.1 200")) << i;
  }
  EXPECT_EQ(idle.front()->Hear(), "");  // made room
}

TEST(HttpEndpoint, PagesThatAreBeingMadeHoldUpNoProbe) {
  HeldPage held;
  HttpEndpoint::Limits limits;
  limits.page_threads = 1;
  limits.max_waiting_pages = 1;
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages(&held), limits));
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

TEST(HttpEndpoint, RefusesATakenAddressAndWhatIsNone) {
  ASSERT_OK_AND_ASSIGN(const auto http, HttpEndpoint::Start(kAnyPort, Pages()));
  EXPECT_THAT(HttpEndpoint::Start(http->address(), Pages()).status(), HasReason("ADDRESS_IN_USE"));
  EXPECT_THAT(HttpEndpoint::Start("nonsense", Pages()).status(), HasReason("INVALID_FIELD"));
}

}  // namespace
}  // namespace quantmoe
