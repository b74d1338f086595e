// The Hub's HTTP API: revisions, file lists and ranges of files, with every error told as what it is. What
// may succeed later is tried again; what arrives is what was asked for, or an error. Keeps nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/http_client.h"
#include "sources/hub_answer.h"
#include "sources/hub_options.h"

namespace quantmoe {

// INVALID_ARGUMENT: no http(s) address, one with a query, or plain http to a host that is not loopback.
absl::StatusOr<HttpUrl> ParseHubEndpoint(const HubOptions& options);

// The secret that `token_from` names; empty when env:NAME is not set. Errors name the secret, never its
// value.
absl::StatusOr<std::string> ReadHubToken(const std::string& token_from);

// Thread-safe. `repo` is owner/name of a model, or datasets/owner/name. All calls: PERMISSION_DENIED
// SOURCE_ACCESS_DENIED for 401 and 403; UNAVAILABLE HUB_RATE_LIMITED or HUB_UNAVAILABLE once trying again did
// not help; FAILED_PRECONDITION HUB_PROTOCOL for an answer that is none.
class HubClient {
 public:
  static absl::StatusOr<std::unique_ptr<HubClient>> Create(HubOptions options);

  // The commit of a branch, tag or abbreviated commit, 40 hexadecimal characters. NOT_FOUND MODEL_NOT_FOUND.
  absl::StatusOr<std::string> ResolveRevision(const std::string& repo, const std::string& revision);
  // The files of one folder of a commit, "" for the top. NOT_FOUND MODEL_NOT_FOUND.
  absl::StatusOr<std::vector<HubFile>> ListFiles(const std::string& repo, const std::string& commit,
                                                 const std::string& folder);

  // Takes the piece at `position` of what was asked for; a later piece may start at 0 again.
  using Write = std::function<absl::Status(int64_t position, absl::string_view bytes)>;
  // Bytes [offset, offset + length) of a file, those before `present` excepted: they are there from an
  // earlier try of the whole file. NOT_FOUND MODEL_FILE_NOT_FOUND; OUT_OF_RANGE HUB_RANGE_REFUSED;
  // FAILED_PRECONDITION MODEL_CHANGED when the hub serves another content than it listed.
  absl::Status Download(const std::string& repo, const std::string& commit, const HubFile& file,
                        int64_t offset, int64_t length, int64_t present, const Write& write);

  std::string endpoint() const { return endpoint_.Origin() + prefix_; }

 private:
  struct Transfer;

  HubClient(HubOptions options, HttpUrl endpoint, std::string token);

  absl::Status TryAgain(const std::function<absl::Status(bool& progressed)>& once) const;
  HttpGet Request(const std::string& target) const;
  HttpUrl Api(const std::string& repo, absl::string_view rest) const;
  absl::StatusOr<HttpReply> GetText(const HttpUrl& url, absl::string_view what, std::string& text);
  absl::Status DownloadOnce(Transfer& transfer, bool& progressed);
  absl::Status ErrorOf(const HttpReply& reply, absl::string_view what) const;
  absl::Duration RetryAfter(const HttpHead& head) const;

  const HubOptions options_;
  const HttpUrl endpoint_;
  const std::string prefix_;  // path of the endpoint, without a slash at its end
  const std::string token_;
  HttpClient http_;
};

}  // namespace quantmoe
