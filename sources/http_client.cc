#include "sources/http_client.h"

#include <signal.h>

#include <algorithm>
#include <mutex>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include <curl/curl.h>

#include "base/clock.h"
#include "base/error_info.h"
#include "base/interruption.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

constexpr int kMaxRedirects = 5;
constexpr long kConnectSeconds = 10;
constexpr long kSilenceSeconds = 30;
// Less than this counts as silence.
constexpr long kLeastBytesPerSecond = 1024;
// The body of an error is read, and dropped, so that the connection can be kept.
constexpr size_t kMaxErrorBytes = size_t{64} << 10;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

absl::Status BadUrl(absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_URL", why);
}

absl::Status RefuseRedirect(const HttpUrl& from, absl::string_view why) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "HUB_REDIRECT",
                   absl::StrCat(from.Origin(), " redirects ", why));
}

void StartOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    // A peer that closes while we send must end the request, not the process.
    struct sigaction current {};
    if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
  });
}

absl::Status ParseAuthority(absl::string_view authority, HttpUrl& url) {
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == absl::string_view::npos ? 0 : bracket);
  absl::string_view host = authority.substr(0, colon);
  url.port = url.scheme == "https" ? 443 : 80;
  if (colon != absl::string_view::npos &&
      (!absl::SimpleAtoi(authority.substr(colon + 1), &url.port) || url.port < 1 || url.port > 65535)) {
    return BadUrl("has a bad port");
  }
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) host = host.substr(1, host.size() - 2);
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._:", c);
  });
  if (host.empty() || !plain) return BadUrl("has a bad host");
  url.host = absl::AsciiStrToLower(host);
  return absl::OkStatus();
}

}  // namespace

std::string HttpUrl::Origin() const {
  const bool v6 = absl::StrContains(host, ':');
  return absl::StrCat(scheme, "://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
}

bool HttpUrl::IsLoopback() const {
  if (host == "localhost" || host == "::1") return true;
  return absl::StartsWith(host, "127.") &&
         std::all_of(host.begin(), host.end(), [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

absl::StatusOr<HttpUrl> ParseHttpUrl(absl::string_view text) {
  HttpUrl url;
  const size_t colon = text.find("://");
  if (colon == absl::string_view::npos) return BadUrl("is no http:// or https:// address");
  url.scheme = absl::AsciiStrToLower(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") return BadUrl("is no http:// or https:// address");
  absl::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  for (const char c : rest) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)))
      return BadUrl("has a space or control character");
  }
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  RETURN_IF_ERROR(ParseAuthority(rest.substr(0, end), url));
  url.target = std::string(rest.substr(end));
  if (!absl::StartsWith(url.target, "/")) url.target = absl::StrCat("/", url.target);
  return url;
}

absl::StatusOr<HttpUrl> ResolveLocation(const HttpUrl& base, absl::string_view location) {
  const size_t colon = location.find("://");
  if (colon != absl::string_view::npos && colon < std::min(location.find_first_of("/?#"), location.size())) {
    return ParseHttpUrl(location);
  }
  if (absl::StartsWith(location, "//")) return ParseHttpUrl(absl::StrCat(base.scheme, ":", location));
  if (location.empty()) return BadUrl("is empty");
  if (location.front() == '/') return ParseHttpUrl(absl::StrCat(base.Origin(), location));
  const std::string path = base.target.substr(0, base.target.find('?'));
  return ParseHttpUrl(absl::StrCat(base.Origin(), path.substr(0, path.rfind('/') + 1), location));
}

std::string EncodePath(absl::string_view text, bool keep_slashes) {
  std::string encoded;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("-._~", c) || (c == '/' && keep_slashes)) {
      encoded.push_back(c);
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", byte);
    }
  }
  return encoded;
}

std::string HttpHead::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

// One request without redirects, as the callbacks of libcurl see it.
class HttpClient::Exchange {
 public:
  Exchange(const HttpGet& get, bool at_origin, HttpReply& reply, const OnHead& on_head,
           const OnBytes& on_bytes)
      : get_(get), at_origin_(at_origin), reply_(reply), on_head_(on_head), on_bytes_(on_bytes) {}

  absl::Status Run(CURL* curl) {
    // Ranges and digests are those of the stored bytes.
    curl_slist* lines = curl_slist_append(nullptr, "Accept-Encoding: identity");
    for (const auto& [name, value] : get_.headers)
      lines = curl_slist_append(lines, absl::StrCat(name, ": ", value).c_str());
    if (!get_.bearer.empty())
      lines = curl_slist_append(lines, absl::StrCat("Authorization: Bearer ", get_.bearer).c_str());
    const auto free_lines = absl::MakeCleanup([&] { curl_slist_free_all(lines); });
    reply_.head = {};
    SetOptions(curl, lines);
    const CURLcode code = curl_easy_perform(curl);
    RETURN_IF_ERROR(callback_status_);
    // An error or a redirect is known by its head.
    if (code == CURLE_OK || (head_done_ && !wanted_)) return absl::OkStatus();
    return FromCurl(code);
  }

 private:
  void SetOptions(CURL* curl, curl_slist* lines) {
    curl_easy_reset(curl);  // connections stay
    curl_easy_setopt(curl, CURLOPT_URL, absl::StrCat(get_.url.Origin(), get_.url.target).c_str());
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (get_.url.IsLoopback()) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "quantmoe");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kLeastBytesPerSecond);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kSilenceSeconds);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(get_.deadline)));
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &Exchange::OnProgress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
    // A thread that looks up a name must not hold up the end of a request that is given up.
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Exchange::HeaderLine);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Exchange::BodyBytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  }

  // Called at least once a second, on the thread that performs.
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    Exchange& exchange = *static_cast<Exchange*>(self);
    exchange.callback_status_.Update(CheckInterrupted());
    return exchange.callback_status_.ok() ? 0 : 1;
  }

  static size_t HeaderLine(const char* data, size_t, size_t size, void* self) {
    return static_cast<Exchange*>(self)->TakeLine(absl::string_view(data, size)) ? size : 0;
  }
  static size_t BodyBytes(const char* data, size_t, size_t size, void* self) {
    return static_cast<Exchange*>(self)->TakeBytes(absl::string_view(data, size)) ? size : 0;
  }

  bool TakeLine(absl::string_view line) {
    if (head_done_) return true;  // a trailer
    line = absl::StripTrailingAsciiWhitespace(line);
    if (line.empty()) return FinishHead();
    if (absl::StartsWith(line, "HTTP/")) {
      reply_.head = {};  // after 100 Continue, the real one
      (void)absl::SimpleAtoi(line.substr(std::min(line.find(' '), line.size())).substr(0, 4),
                             &reply_.head.status);
      return true;
    }
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) return true;
    reply_.head.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    return true;
  }

  bool FinishHead() {
    if (reply_.head.status < 200) return true;
    head_done_ = true;
    if (at_origin_) reply_.origin_head = reply_.head;
    wanted_ = reply_.head.status == 200 || reply_.head.status == 206;
    if (wanted_) callback_status_ = on_head_(reply_);
    return callback_status_.ok();
  }

  bool TakeBytes(absl::string_view bytes) {
    if (!wanted_) return (dropped_bytes_ += bytes.size()) <= kMaxErrorBytes;
    callback_status_ = on_bytes_(bytes);
    return callback_status_.ok();
  }

  // The address may hold a signature, so only the host is named.
  absl::Status FromCurl(CURLcode code) const {
    const std::string message = absl::StrCat(get_.url.Origin(), ": ", curl_easy_strerror(code));
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "HUB_CERTIFICATE", message);
    }
    return MakeError(absl::StatusCode::kUnavailable, "HUB_UNAVAILABLE", message);
  }

  const HttpGet& get_;
  const bool at_origin_;
  HttpReply& reply_;
  const OnHead& on_head_;
  const OnBytes& on_bytes_;
  absl::Status callback_status_;  // of the callbacks
  bool head_done_ = false, wanted_ = false;
  size_t dropped_bytes_ = 0;
};

HttpClient::HttpClient(bool allow_plain_http) : allow_plain_http_(allow_plain_http) { StartOnce(); }

HttpClient::~HttpClient() {
  absl::MutexLock lock(&mutex_);
  for (CURL* const handle : idle_) curl_easy_cleanup(handle);
}

absl::StatusOr<HttpReply> HttpClient::Get(const HttpGet& get, const OnHead& on_head,
                                          const OnBytes& on_bytes) {
  CURL* const handle = Take();
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for an HTTP request");
  const auto keep = absl::MakeCleanup([&] { Keep(handle); });
  HttpGet hop = get;
  HttpReply reply;
  const absl::Duration start = Clock::Real().Monotonic();
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    // Of all hops together; libcurl takes 0 for no limit.
    hop.deadline = std::max(get.deadline - (Clock::Real().Monotonic() - start), absl::Milliseconds(1));
    reply.origin = hop.url.Origin();
    const bool at_origin = hop.url.Origin() == get.url.Origin();
    RETURN_IF_ERROR(Exchange(hop, at_origin, reply, on_head, on_bytes).Run(handle));
    if (!IsRedirect(reply.head.status)) return reply;
    ASSIGN_OR_RETURN(HttpUrl next, Follow(hop.url, reply.head));
    // Once outside, the secret does not come back either.
    if (next.Origin() != get.url.Origin()) hop.bearer.clear();
    hop.url = std::move(next);
  }
  return RefuseRedirect(get.url, absl::StrCat("more than ", kMaxRedirects, " times"));
}

absl::StatusOr<HttpUrl> HttpClient::Follow(const HttpUrl& from, const HttpHead& head) const {
  const absl::StatusOr<HttpUrl> next = ResolveLocation(from, head.Header("location"));
  if (!next.ok()) return RefuseRedirect(from, "to an address that is none");
  const bool plain = next->scheme == "http" && !allow_plain_http_;
  if (plain && (from.scheme == "https" || !next->IsLoopback())) {
    return RefuseRedirect(from, absl::StrCat("to plain http at ", next->host));
  }
  return *next;
}

CURL* HttpClient::Take() {
  absl::MutexLock lock(&mutex_);
  if (idle_.empty()) return curl_easy_init();
  CURL* const handle = idle_.back();
  idle_.pop_back();
  return handle;
}

void HttpClient::Keep(CURL* handle) {
  absl::MutexLock lock(&mutex_);
  idle_.push_back(handle);
}

}  // namespace quantmoe
