// HTTP GET over libcurl, with redirects under rules of our own: a secret never leaves the host that it is
// for, and nobody is led from https to http. It tries once; who may try again is decided elsewhere.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quantmoe {

struct HttpUrl {
  std::string scheme;  // http or https
  std::string host;
  int port = 0;
  std::string target;  // path and query, percent-encoded

  std::string Origin() const;  // scheme://host:port
  bool IsLoopback() const;
};

// INVALID_ARGUMENT for anything but http(s)://host[:port][/path][?query]; user info is refused.
absl::StatusOr<HttpUrl> ParseHttpUrl(absl::string_view text);
// Where a Location header leads: absolute, without scheme, without host, or relative.
absl::StatusOr<HttpUrl> ResolveLocation(const HttpUrl& base, absl::string_view location);
// Everything but letters, digits and -._~ as %XX; '/' stays when `keep_slashes`.
std::string EncodePath(absl::string_view text, bool keep_slashes);

struct HttpHead {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string Header(const std::string& name) const;  // empty when absent
};

struct HttpReply {
  HttpHead head;         // of the last reply, after redirects
  HttpHead origin_head;  // of the last reply that came from the host that was asked first
  std::string origin;    // where the last reply came from
};

struct HttpGet {
  HttpUrl url;
  std::string bearer;  // sent to the host of `url` only; empty: none
  std::vector<std::pair<std::string, std::string>> headers;
  absl::Duration deadline =
      absl::Minutes(2);  // from the start of the request to the end of its body, redirects included
};

// Thread-safe. Connections are kept.
class HttpClient {
 public:
  using OnHead = std::function<absl::Status(const HttpReply&)>;
  using OnBytes = std::function<absl::Status(absl::string_view)>;

  explicit HttpClient(bool allow_plain_http);
  ~HttpClient();

  // Status and headers of any reply, good or bad. For 200 and 206, `on_head` is called and then `on_bytes`
  // for the pieces of the body; their errors end the transfer and are returned. UNAVAILABLE HUB_UNAVAILABLE
  // when there is no whole answer in time; FAILED_PRECONDITION HUB_CERTIFICATE, HUB_REDIRECT. An interruption
  // of the calling thread (base/interruption.h) ends it within a second or two.
  absl::StatusOr<HttpReply> Get(const HttpGet& get, const OnHead& on_head, const OnBytes& on_bytes);

 private:
  class Exchange;

  absl::StatusOr<HttpUrl> Follow(const HttpUrl& from, const HttpHead& head) const;
  void* Take();  // a handle of libcurl
  void Keep(void* handle);

  const bool allow_plain_http_;
  absl::Mutex mutex_;
  std::vector<void*> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
