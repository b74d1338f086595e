#include "sources/hub_client.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/interruption.h"
#include "base/status_macros.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr int kMaxPages = 1000;
constexpr size_t kMaxFiles = 1'000'000;
// Longer waits are the caller's business.
constexpr absl::Duration kLongestWait = absl::Seconds(60);
// What a range may need at least, beside the deadline of any request; one that is cut off goes on from there.
constexpr int64_t kLeastBytesPerSecond = int64_t{256} << 10;
constexpr char kRetryAfter[] = "retry_after_seconds";

}  // namespace

// One download and how far it is.
struct HubClient::Transfer {
  HttpUrl url;
  const std::string& commit;
  const HubFile& file;
  const int64_t offset, length;
  int64_t received;
  std::string tag;  // of the content that the received bytes belong to
  const Write& write;

  bool whole() const { return offset == 0 && length == file.size_bytes; }
  std::string what() const { return absl::StrCat("file ", file.path); }

  absl::Status CheckHead(const HttpReply& reply);
  absl::Status CheckListed(const HttpHead& head) const;
  absl::Status Take(absl::string_view bytes);
};

// The hub says with every file what it is; another content than the listed one must not be mixed in.
absl::Status HubClient::Transfer::CheckListed(const HttpHead& head) const {
  const auto changed = [&](absl::string_view header, absl::string_view found) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "MODEL_CHANGED",
        absl::StrCat(what(), ": ", header, " is ", absl::Utf8SafeCHexEscape(found.substr(0, 100)),
                     ", which is not what the hub listed"),
        {{"file", file.path}});
  };
  const std::string linked = head.Header("x-linked-etag");
  const std::string tag_text = linked.empty() && head.status < 300 ? head.Header("etag") : linked;
  const std::string found = StrongTag(absl::StripPrefix(tag_text, "W/"));
  if (!found.empty() && found != file.oid) return changed("the ETag", found);
  const std::string size = head.Header("x-linked-size");
  if (!size.empty() && size != absl::StrCat(file.size_bytes)) return changed("X-Linked-Size", size);
  const std::string served = head.Header("x-repo-commit");
  if (!served.empty() && served != commit) return changed("X-Repo-Commit", served);
  return absl::OkStatus();
}

absl::Status HubClient::Transfer::CheckHead(const HttpReply& reply) {
  RETURN_IF_ERROR(CheckListed(reply.origin_head));
  if (reply.head.status == 200) {
    const bool resumed = received > 0;
    received = 0;
    if (!whole() && resumed) {
      tag.clear();
      return MakeError(absl::StatusCode::kUnavailable, "HUB_UNAVAILABLE",
                       absl::StrCat(what(), ": another copy answered, so the range starts again"));
    }
    if (!whole()) return HubProtocolError(what(), absl::StrCat(reply.origin, " does not serve ranges"));
  } else {
    const std::string text = reply.head.Header("content-range");
    const std::optional<ContentRange> range = ParseContentRange(text);
    if (!range.has_value() || range->first != offset + received || range->last != offset + length - 1 ||
        range->total != file.size_bytes) {
      return HubProtocolError(
          what(), absl::StrCat("asked for bytes ", offset + received, " to ", offset + length - 1, " of ",
                               file.size_bytes, ", got Content-Range \"",
                               absl::Utf8SafeCHexEscape(text.substr(0, 100)), "\""));
    }
  }
  tag = StrongTag(reply.head.Header("etag"));
  return absl::OkStatus();
}

absl::Status HubClient::Transfer::Take(absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > length - received) {
    return HubProtocolError(what(), absl::StrCat("more than the ", length, " bytes asked for"));
  }
  RETURN_IF_ERROR(write(received, bytes));
  received += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<HttpUrl> ParseHubEndpoint(const HubOptions& options) {
  absl::StatusOr<HttpUrl> url = ParseHttpUrl(options.endpoint);
  if (!url.ok()) {
    return Annotate(url.status(), absl::Utf8SafeCHexEscape(options.endpoint.substr(0, 200)));
  }
  if (absl::StrContains(url->target, '?')) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_URL", "must not have a query");
  }
  if (url->scheme == "http" && !url->IsLoopback() && !options.allow_plain_http) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_URL",
                     absl::StrCat(url->Origin(), " is plain http to a host that is not loopback: use https, ",
                                  "or give --hub-plain-http"));
  }
  return url;
}

absl::StatusOr<std::string> ReadHubToken(const std::string& token_from) {
  absl::string_view name = token_from;
  std::string token;
  const auto bad = [](absl::string_view why) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_SECRET", why);
  };
  if (absl::ConsumePrefix(&name, "env:")) {
    const char* value = std::getenv(std::string(name).c_str());
    token = value == nullptr ? "" : value;
  } else if (absl::ConsumePrefix(&name, "file:")) {
    absl::StatusOr<std::string> text = ReadWholeFile(std::string(name), kMaxSecretBytes);
    if (!text.ok()) return bad(text.status().message());
    if (text->empty()) return bad(absl::StrCat(name, " is empty"));
    token = *std::move(text);
  } else {
    return bad("must be env:NAME or file:PATH");  // it may be the token itself: do not repeat it
  }
  absl::StripAsciiWhitespace(&token);
  for (const char c : token) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) || token.size() > 4096)
      return bad(absl::StrCat(name, " does not hold a token"));
  }
  return token;
}

absl::StatusOr<std::unique_ptr<HubClient>> HubClient::Create(HubOptions options) {
  ASSIGN_OR_RETURN(HttpUrl endpoint, ParseHubEndpoint(options));
  ASSIGN_OR_RETURN(std::string token, ReadHubToken(options.token_from));
  return std::unique_ptr<HubClient>(new HubClient(std::move(options), std::move(endpoint), std::move(token)));
}

HubClient::HubClient(HubOptions options, HttpUrl endpoint, std::string token)
    : options_(std::move(options)),
      endpoint_(std::move(endpoint)),
      prefix_(absl::StripSuffix(endpoint_.target, "/")),
      token_(std::move(token)),
      http_(options_.allow_plain_http) {}

HttpGet HubClient::Request(const std::string& target) const {
  HttpGet get{endpoint_, token_, {}};
  get.url.target = absl::StrCat(prefix_, target);
  return get;
}

HttpUrl HubClient::Api(const std::string& repo, absl::string_view rest) const {
  const bool model = !absl::StartsWith(repo, "datasets/");
  return Request(absl::StrCat("/api/", model ? "models/" : "", EncodePath(repo, /*keep_slashes=*/true), rest))
      .url;
}

// A peer may make a little progress each time for ever, so only real progress counts.
absl::Status HubClient::TryAgain(const std::function<absl::Status(bool& progressed)>& once) const {
  Backoff backoff(options_.backoff);
  for (int failures = 1;; ++failures) {
    bool progressed = false;
    const absl::Status status = once(progressed);
    if (status.ok() || !IsRetryable(status)) return status;
    RETURN_IF_ERROR(CheckInterrupted());
    if (progressed) {
      failures = 1;
      backoff.Reset();
    }
    double seconds = 0;
    const auto metadata = GetErrorInfo(status).metadata;
    if (const auto found = metadata.find(kRetryAfter); found != metadata.end()) {
      (void)absl::SimpleAtod(found->second, &seconds);
    }
    const absl::Duration asked = absl::Seconds(seconds);
    if (failures >= options_.attempts || asked > kLongestWait) return status;
    const absl::Duration wait = std::max(backoff.Next(), asked);
    if (options_.sleep) {
      options_.sleep(wait);
    } else {
      RETURN_IF_ERROR(SleepUnlessInterrupted(wait));
    }
  }
}

absl::Duration HubClient::RetryAfter(const HttpHead& head) const {
  const std::string text = head.Header("retry-after");
  double seconds = 0;
  absl::Time date;
  if (absl::SimpleAtod(text, &seconds) && std::isfinite(seconds))
    return absl::Seconds(std::max(0.0, seconds));
  if (!text.empty() && absl::ParseTime("%a, %d %b %E4Y %H:%M:%S GMT", text, &date, nullptr)) {
    return std::max(absl::ZeroDuration(), date - options_.clock->Now());
  }
  return absl::ZeroDuration();
}

absl::Status HubClient::ErrorOf(const HttpReply& reply, absl::string_view what) const {
  const int code = reply.head.status;
  std::string message = absl::StrCat(what, ": ", reply.origin, " answered ", code);
  // The hub's own words help: a gated model, a rate limit.
  if (const std::string said = reply.head.Header("x-error-message"); !said.empty()) {
    absl::StrAppend(&message, " (", absl::Utf8SafeCHexEscape(absl::string_view(said).substr(0, 300)), ")");
  }
  const std::string wait = absl::StrCat(absl::ToDoubleSeconds(RetryAfter(reply.head)));
  switch (code) {
    case 401:
    case 403:
      absl::StrAppend(&message, token_.empty() ? "; no token is set in " : "; with the token of ",
                      options_.token_from);
      return MakeError(absl::StatusCode::kPermissionDenied, "SOURCE_ACCESS_DENIED", message);
    case 404:
    case 410:
      return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", message);
    case 416:
      return MakeError(absl::StatusCode::kOutOfRange, "HUB_RANGE_REFUSED", message);
    case 429:
      absl::StrAppend(&message, "; it asks to wait ", wait, " s");
      return MakeError(absl::StatusCode::kUnavailable, "HUB_RATE_LIMITED", message, {{kRetryAfter, wait}});
    default:
      break;
  }
  if (code >= 500 || code == 408) {
    return MakeError(absl::StatusCode::kUnavailable, "HUB_UNAVAILABLE", message, {{kRetryAfter, wait}});
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, "HUB_PROTOCOL", message);
}

absl::StatusOr<HttpReply> HubClient::GetText(const HttpUrl& url, absl::string_view what, std::string& text) {
  HttpReply reply;
  RETURN_IF_ERROR(TryAgain([&](bool&) -> absl::Status {
    text.clear();
    const auto take = [&](absl::string_view bytes) {
      if (text.size() + bytes.size() > kMaxTextBytes) return HubProtocolError(what, "the answer is too long");
      text.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    };
    ASSIGN_OR_RETURN(reply, http_.Get(
                                {url, token_, {}}, [](const HttpReply&) { return absl::OkStatus(); }, take));
    return reply.head.status == 200 ? absl::OkStatus() : ErrorOf(reply, what);
  }));
  return reply;
}

absl::StatusOr<std::string> HubClient::ResolveRevision(const std::string& repo, const std::string& revision) {
  const std::string what = absl::StrCat("hf://", repo, " at revision ", revision);
  const HttpUrl url = Api(repo, absl::StrCat("/revision/", EncodePath(revision, /*keep_slashes=*/false)));
  std::string text;
  RETURN_IF_ERROR(GetText(url, what, text).status());
  std::optional<std::string> commit = CommitOfAnswer(text);
  if (!commit.has_value()) return HubProtocolError(what, "the answer names no commit");
  return *std::move(commit);
}

absl::StatusOr<std::vector<HubFile>> HubClient::ListFiles(const std::string& repo, const std::string& commit,
                                                          const std::string& folder) {
  const std::string what =
      absl::StrCat("files of hf://", repo, "@", commit, folder.empty() ? "" : "/", folder);
  HttpUrl url = Api(repo, absl::StrCat("/tree/", commit, folder.empty() ? "" : "/",
                                       EncodePath(folder, /*keep_slashes=*/true)));
  std::vector<HubFile> files;
  for (int page = 0; page < kMaxPages; ++page) {
    std::string text;
    ASSIGN_OR_RETURN(const HttpReply reply, GetText(url, what, text));
    RETURN_IF_ERROR(AppendHubFiles(text, files));
    if (files.size() > kMaxFiles) return HubProtocolError(what, "the list is too long");
    const std::string next = NextPage(reply.head.Header("link"));
    if (next.empty()) return files;
    ASSIGN_OR_RETURN(url, ResolveLocation(url, next));
    if (url.Origin() != endpoint_.Origin()) return HubProtocolError(what, "the next page is at another host");
  }
  return HubProtocolError(what, "the list does not end");
}

absl::Status HubClient::DownloadOnce(Transfer& transfer, bool& progressed) {
  // Without a tag nothing says that the rest belongs to what is there, unless the digest of the whole will.
  if (transfer.tag.empty() && !transfer.whole()) transfer.received = 0;
  HttpGet get{transfer.url, token_, {}};
  get.deadline += absl::Seconds((transfer.length - transfer.received) / kLeastBytesPerSecond);
  if (!transfer.whole() || transfer.received > 0) {
    get.headers.emplace_back("Range", absl::StrCat("bytes=", transfer.offset + transfer.received, "-",
                                                   transfer.offset + transfer.length - 1));
    if (transfer.received > 0 && !transfer.tag.empty())
      get.headers.emplace_back("If-Range", absl::StrCat("\"", transfer.tag, "\""));
  }
  constexpr int64_t kProgressBytes = int64_t{1} << 20;
  const int64_t before = transfer.received;
  const absl::StatusOr<HttpReply> reply = http_.Get(
      get, [&](const HttpReply& head) { return transfer.CheckHead(head); },
      [&](absl::string_view bytes) { return transfer.Take(bytes); });
  progressed = transfer.received - before >= kProgressBytes;
  RETURN_IF_ERROR(reply.status());
  if (reply->head.status != 200 && reply->head.status != 206) return ErrorOf(*reply, transfer.what());
  if (transfer.received == transfer.length) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, "HUB_UNAVAILABLE",
                   absl::StrCat(transfer.what(), ": ", reply->origin, " sent ", transfer.received, " of ",
                                transfer.length, " bytes"));
}

absl::Status HubClient::Download(const std::string& repo, const std::string& commit, const HubFile& file,
                                 int64_t offset, int64_t length, int64_t present, const Write& write) {
  if (present >= length) return absl::OkStatus();
  const HttpUrl url = Request(absl::StrCat("/", EncodePath(repo, /*keep_slashes=*/true), "/resolve/", commit,
                                           "/", EncodePath(file.path, /*keep_slashes=*/true)))
                          .url;
  Transfer transfer{url, commit, file, offset, length, present, "", write};
  const absl::Status status = TryAgain([&](bool& progressed) { return DownloadOnce(transfer, progressed); });
  if (!absl::IsNotFound(status)) return status;
  return MakeError(absl::StatusCode::kNotFound, "MODEL_FILE_NOT_FOUND", status.message(),
                   {{"file", file.path}});
}

}  // namespace quantmoe
