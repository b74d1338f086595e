#include "sources/http_client.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error_info.h"
#include "base/interruption.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(HttpUrl, AcceptedForms) {
  const struct {
    const char *text, *origin, *target;
  } cases[] = {
      {"https://Hub.example", "https://hub.example:443", "/"},
      {"http://127.0.0.1:8080/a/b?c=d#e", "http://127.0.0.1:8080", "/a/b?c=d"},
      {"https://[::1]:81?x", "https://[::1]:81", "/?x"},
      {"https://h/a%2Fb?s=a+b,c;d", "https://h:443", "/a%2Fb?s=a+b,c;d"},
  };
  for (const auto& item : cases) {
    ASSERT_OK_AND_ASSIGN(const HttpUrl url, ParseHttpUrl(item.text));
    EXPECT_EQ(url.Origin(), item.origin);
    EXPECT_EQ(url.target, item.target);
  }
}

TEST(HttpUrl, RefusedForms) {
  for (const char* text :
       {"", "hub", "ftp://h/a", "https://", "https:///a", "https://user@h/", "https://h:0/", "https://h:x/",
        "https://h:99999/", "https://h/a b", "https://h/a\nb", "https://h\\a/"}) {
    EXPECT_THAT(ParseHttpUrl(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(HttpUrl, LoopbackIsAnAddressAndNoPrefix) {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
    EXPECT_TRUE((HttpUrl{"http", host, 80, "/"}).IsLoopback()) << host;
  }
  for (const char* host : {"127.evil.example", "localhost.evil.example", "10.0.0.1", "128.0.0.1"}) {
    EXPECT_FALSE((HttpUrl{"http", host, 80, "/"}).IsLoopback()) << host;
  }
}

TEST(HttpUrl, LocationsOfAllForms) {
  const HttpUrl base{"https", "h", 443, "/a/b?q=/x"};
  const struct {
    const char *location, *origin, *target;
  } cases[] = {
      {"http://other:1/c?u=http://x", "http://other:1", "/c?u=http://x"},
      {"//other/c", "https://other:443", "/c"},
      {"/c?u=https://x", "https://h:443", "/c?u=https://x"},
      {"c", "https://h:443", "/a/c"},
  };
  for (const auto& item : cases) {
    ASSERT_OK_AND_ASSIGN(const HttpUrl url, ResolveLocation(base, item.location));
    EXPECT_EQ(url.Origin(), item.origin);
    EXPECT_EQ(url.target, item.target);
  }
  EXPECT_FALSE(ResolveLocation(base, "").ok());
  EXPECT_FALSE(ResolveLocation(base, "file:///etc/passwd").ok());
}

TEST(HttpUrl, EncodesEverythingThatCouldMeanSomething) {
  EXPECT_EQ(EncodePath("refs/pr/1", /*keep_slashes=*/false), "refs%2Fpr%2F1");
  EXPECT_EQ(EncodePath("a b/c+?#%\xc3\xa9", /*keep_slashes=*/true), "a%20b/c%2B%3F%23%25%C3%A9");
}

// A server that answers every request with the same head and then sends a byte every 20 ms, for as long as it
// lives and its client listens.
class DrippingServer {
 public:
  explicit DrippingServer(std::string head) : head_(std::move(head)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    url_ = absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port), "/");
    thread_ = std::thread([this] { Serve(); });
  }
  ~DrippingServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  HttpGet Get(absl::Duration deadline) const { return {ParseHttpUrl(url_).value(), "", {}, deadline}; }
  const std::string& url() const { return url_; }
  int requests() const { return requests_; }

 private:
  void Serve() {
    for (int client; (client = accept(listener_, nullptr, nullptr)) >= 0;) {
      ++requests_;
      Drip(client);
      close(client);
    }
  }
  void Drip(int client) {
    std::string bytes = head_;
    while (!stopping_ && send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
      bytes = "x";
      pollfd gone{client, POLLRDHUP, 0};
      if (poll(&gone, 1, /*timeout=*/20) > 0) return;
    }
  }

  const std::string head_;
  const int listener_ = socket(AF_INET, SOCK_STREAM, 0);
  std::string url_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> requests_{0};
  std::thread thread_;
};

constexpr char kEndless[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

absl::Status Read(const HttpGet& get) {
  HttpClient client(/*allow_plain_http=*/true);
  return client
      .Get(
          get, [](const HttpReply&) { return absl::OkStatus(); },
          [](absl::string_view) { return absl::OkStatus(); })
      .status();
}

TEST(HttpDeadline, AServerThatDripsIsLeftWhenTheTimeIsUp) {
  DrippingServer server(kEndless);
  const absl::Status status = Read(server.Get(absl::Milliseconds(300)));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(status, HasReason("HUB_UNAVAILABLE"));
}

TEST(HttpDeadline, AHeadThatNeverEndsIsLeftToo) {
  DrippingServer server("HTTP/1.1 200 OK\r\nX: ");
  EXPECT_THAT(Read(server.Get(absl::Milliseconds(300))), StatusIs(absl::StatusCode::kUnavailable));
}

// Each of six hops had the whole deadline for itself.
TEST(HttpDeadline, IsThatOfAllRedirectsTogether) {
  DrippingServer last(kEndless);
  DrippingServer first(
      absl::StrCat("HTTP/1.1 302 Found\r\nContent-Length: 40\r\nLocation: ", last.url(), "\r\n\r\n"));
  const absl::Duration start = Clock::Real().Monotonic();
  EXPECT_THAT(Read(first.Get(absl::Milliseconds(1200))), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(last.requests(), 1);
  EXPECT_LT(Clock::Real().Monotonic() - start, absl::Milliseconds(1900)) << "0.8 s went to the first hop";
}

TEST(HttpDeadline, ACallerThatIsGoneEndsTheRead) {
  DrippingServer server(kEndless);
  const InterruptionScope scope(
      [&server] { return server.requests() > 0 ? absl::CancelledError("gone") : absl::OkStatus(); });
  EXPECT_THAT(Read(server.Get(absl::Hours(1))), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace quantmoe
