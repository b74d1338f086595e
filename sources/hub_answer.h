// What the Hub's answers say, and what is kept of them: pure functions of outside bytes, which may be
// anything. The network is hub_client's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct HubFile {
  std::string path;
  int64_t size_bytes = 0;
  // Names the content: SHA-256 of files in large-file storage, else the SHA-1 of git's blob.
  std::string oid;
  bool large = false;
  friend bool operator==(const HubFile&, const HubFile&) = default;
};

// FAILED_PRECONDITION HUB_PROTOCOL: "WHAT: WHY".
absl::Status HubProtocolError(absl::string_view what, absl::string_view why);

// Appends the files of one page of a folder's list; entries of other types are left out. HUB_PROTOCOL.
absl::Status AppendHubFiles(absl::string_view page, std::vector<HubFile>& files);
// The commit that an answer about a revision names, 40 hexadecimal characters.
std::optional<std::string> CommitOfAnswer(absl::string_view answer);

// The address after rel="next" in a Link header; empty when there is none.
std::string NextPage(absl::string_view link);
// A strong entity tag without its quotes; empty for a weak one.
std::string StrongTag(absl::string_view tag);

// Of a Content-Range header, "bytes FIRST-LAST/TOTAL".
struct ContentRange {
  int64_t first = 0, last = 0, total = 0;
};
std::optional<ContentRange> ParseContentRange(absl::string_view text);

// A list as it is kept on this machine. Nothing for a document of another shape.
std::string HubFilesToJson(const std::vector<HubFile>& files);
std::optional<std::vector<HubFile>> HubFilesFromJson(absl::string_view text);

}  // namespace quantmoe
