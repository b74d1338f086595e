#include "sources/model_uri.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxUriBytes = 2048;

absl::Status Refuse(absl::string_view text, absl::string_view why) {
  const std::string shown = absl::Utf8SafeCHexEscape(text.substr(0, 200));
  return InvalidFields({{"spec.model.uri", absl::StrCat("\"", shown, "\" ", why)}});
}

absl::Status NotAllowed(const ModelUri& uri) {
  return MakeError(absl::StatusCode::kPermissionDenied, "SOURCE_NOT_ALLOWED",
                   absl::StrCat(uri.ToString(), " is not below an allowed model root"),
                   {{"uri", uri.ToString()}});
}

absl::Status NotFound(const ModelUri& uri) {
  return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                   absl::StrCat(uri.ToString(), " does not exist"), {{"uri", uri.ToString()}});
}

absl::Status CheckCharacters(absl::string_view text) {
  if (text.empty()) return Refuse(text, "is empty");
  if (text.size() > kMaxUriBytes)
    return Refuse(text, absl::StrCat("is longer than ", kMaxUriBytes, " bytes"));
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) return Refuse(text, "has a control character");
    if (absl::StrContains("%?#\\", c))
      return Refuse(text, absl::StrCat("must not contain ", std::string(1, c)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Segments(absl::string_view text, absl::string_view path) {
  std::vector<std::string> segments = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (std::count(segments.begin(), segments.end(), "..") > 0) return Refuse(text, "must not contain ..");
  segments.erase(std::remove(segments.begin(), segments.end(), "."), segments.end());
  return segments;
}

bool IsBucketName(absl::string_view bucket) {
  return bucket.size() >= 3 && bucket.size() <= 222 && absl::ascii_isalnum(bucket.front()) &&
         std::all_of(bucket.begin(), bucket.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '.' || c == '_';
         });
}

absl::StatusOr<ModelUri> ParseBucketUri(ModelUri::Scheme scheme, absl::string_view text,
                                        absl::string_view path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> segments, Segments(text, path));
  if (absl::StartsWith(path, "/") || segments.empty() || !IsBucketName(segments.front())) {
    return Refuse(text, "must name a bucket: lower-case letters, digits, '-', '.' and '_'");
  }
  return ModelUri{scheme, absl::StrJoin(segments, "/")};
}

bool IsHubName(absl::string_view name) {
  return !name.empty() && name.size() <= 96 && name.front() != '-' && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_';
         });
}

bool IsRevision(absl::string_view revision) {
  return !revision.empty() && revision.front() != '/' && revision.back() != '/' && revision.front() != '-' &&
         !absl::StrContains(revision, "..") && !absl::StrContains(revision, "//") &&
         std::all_of(revision.begin(), revision.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._/+", c);
         });
}

// Owner and name at most, after "datasets" for a data set; whether there are enough of them is for the
// caller.
absl::StatusOr<ModelUri> ParseHubPath(absl::string_view text, absl::string_view path) {
  const std::vector<std::string> names = absl::StrSplit(path, '/');
  const size_t most = names.front() == "datasets" ? 3 : 2;
  if (names.size() > most || !std::all_of(names.begin(), names.end(), IsHubName)) {
    return Refuse(text, "must be hf://owner/name@revision: letters, digits, '-', '.' and '_'");
  }
  return ModelUri{ModelUri::Scheme::kHub, absl::StrJoin(names, "/"), ""};
}

absl::StatusOr<ModelUri> ParseHubUri(absl::string_view text, absl::string_view rest, bool dataset) {
  const size_t at = rest.find('@');
  ASSIGN_OR_RETURN(ModelUri uri, ParseHubPath(text, rest.substr(0, at)));
  if (std::count(uri.path.begin(), uri.path.end(), '/') != (dataset ? 2 : 1)) {
    return Refuse(text,
                  dataset ? "must name owner and data set" : "must name owner and model: hf://owner/name");
  }
  if (!dataset && absl::StartsWith(uri.path, "datasets/")) return Refuse(text, "is a data set, no model");
  uri.revision = at == absl::string_view::npos ? "main" : std::string(rest.substr(at + 1));
  if (!IsRevision(uri.revision)) return Refuse(text, "has a bad revision after @");
  return uri;
}

absl::StatusOr<ModelUri> ParseFileUri(absl::string_view text, absl::string_view path) {
  if (!absl::StartsWith(path, "/")) return Refuse(text, "must be an absolute path, without a host");
  ASSIGN_OR_RETURN(const std::vector<std::string> segments, Segments(text, path));
  return ModelUri{ModelUri::Scheme::kFile, absl::StrCat("/", absl::StrJoin(segments, "/"))};
}

std::optional<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) return std::nullopt;
  return std::string(resolved.get());
}

bool IsBelow(absl::string_view path, absl::string_view root) {
  if (root == "/" || root.empty()) return true;  // everything; all of the Hub
  return absl::ConsumePrefix(&path, root) && (path.empty() || path.front() == '/');
}

// The parsed paths of the roots of one scheme, with links resolved for files. A root that is not there grants
// nothing.
std::vector<std::string> RootPaths(ModelUri::Scheme scheme, const std::vector<std::string>& roots) {
  std::vector<std::string> paths;
  for (const std::string& text : roots) {
    const absl::StatusOr<ModelUri> root = ParseModelRoot(text);
    if (!root.ok() || root->scheme != scheme) continue;
    if (scheme != ModelUri::Scheme::kFile) {
      paths.push_back(root->path);
    } else if (std::optional<std::string> resolved = RealPath(root->path)) {
      paths.push_back(*std::move(resolved));
    }
  }
  return paths;
}

bool IsBelowAny(const std::string& path, const std::vector<std::string>& roots) {
  return std::any_of(roots.begin(), roots.end(),
                     [&](const std::string& root) { return IsBelow(path, root); });
}

// A path that cannot be resolved: "not found" may be said only of what would lie below a root, so that nobody
// learns what exists elsewhere.
absl::Status Unresolved(const ModelUri& uri, const std::vector<std::string>& roots) {
  for (fs::path path = uri.path; path.has_relative_path();) {
    path = path.parent_path();
    if (const std::optional<std::string> resolved = RealPath(path)) {
      return IsBelowAny(*resolved, roots) ? NotFound(uri) : NotAllowed(uri);
    }
  }
  return NotAllowed(uri);
}

// Files inside may be links, as in the caches of hubs, but only to places below a root.
absl::Status CheckEntries(const ModelUri& uri, const std::string& resolved,
                          const std::vector<std::string>& roots) {
  std::error_code error;
  if (!fs::is_directory(resolved, error)) return absl::OkStatus();
  for (fs::directory_iterator entry(resolved, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_symlink(error)) continue;
    const std::optional<std::string> target = RealPath(entry->path());
    std::error_code ignored;
    if (!target.has_value() || !fs::is_regular_file(*target, ignored)) continue;
    if (IsBelowAny(*target, roots)) continue;
    return MakeError(absl::StatusCode::kPermissionDenied, "SOURCE_NOT_ALLOWED",
                     absl::StrCat(uri.ToString(), ": file ", entry->path().filename().string(),
                                  " is a link to outside of the allowed model roots"),
                     {{"uri", uri.ToString()}, {"file", entry->path().filename().string()}});
  }
  return error ? ErrnoError(error.value(), absl::StrCat("cannot list ", uri.ToString())) : absl::OkStatus();
}

}  // namespace

std::string ModelUri::ToString() const {
  switch (scheme) {
    case Scheme::kFile:
      return absl::StrCat("file://", path);
    case Scheme::kS3:
      return absl::StrCat("s3://", path);
    case Scheme::kGcs:
      return absl::StrCat("gs://", path);
    case Scheme::kHub:
      return absl::StrCat("hf://", path, revision.empty() ? "" : "@", revision);
  }
  return path;
}

absl::StatusOr<ModelUri> ParseModelUri(absl::string_view text) {
  RETURN_IF_ERROR(CheckCharacters(text));
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "s3://")) return ParseBucketUri(ModelUri::Scheme::kS3, text, rest);
  if (absl::ConsumePrefix(&rest, "gs://")) return ParseBucketUri(ModelUri::Scheme::kGcs, text, rest);
  if (absl::ConsumePrefix(&rest, "hf://")) return ParseHubUri(text, rest, /*dataset=*/false);
  if (absl::ConsumePrefix(&rest, "file://") || absl::StartsWith(rest, "/")) return ParseFileUri(text, rest);
  return Refuse(text,
                "must be an absolute path, file:///path, s3://bucket/prefix, gs://bucket/prefix or "
                "hf://owner/name@revision");
}

absl::StatusOr<ModelUri> ParseDatasetUri(absl::string_view text) {
  RETURN_IF_ERROR(CheckCharacters(text));
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, "hf://") || !absl::StartsWith(rest, "datasets/")) {
    return Refuse(text, "must be hf://datasets/owner/name@revision");
  }
  return ParseHubUri(text, rest, /*dataset=*/true);
}

absl::StatusOr<ModelUri> ParseModelRoot(absl::string_view text) {
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, "hf://")) return ParseModelUri(text);
  RETURN_IF_ERROR(CheckCharacters(text));
  absl::ConsumeSuffix(&rest, "/");
  if (rest.empty()) return ModelUri{ModelUri::Scheme::kHub, "", ""};
  return ParseHubPath(text, rest);
}

absl::StatusOr<ModelUri> ConfineModelUri(const ModelUri& uri, const std::vector<std::string>& roots) {
  const std::vector<std::string> allowed = RootPaths(uri.scheme, roots);
  if (uri.scheme != ModelUri::Scheme::kFile) {
    if (!IsBelowAny(uri.path, allowed)) return NotAllowed(uri);
    return uri;
  }
  std::optional<std::string> resolved = RealPath(uri.path);
  if (!resolved.has_value()) return Unresolved(uri, allowed);
  if (!IsBelowAny(*resolved, allowed)) return NotAllowed(uri);
  RETURN_IF_ERROR(CheckEntries(uri, *resolved, allowed));
  return ModelUri{uri.scheme, *std::move(resolved)};
}

}  // namespace quantmoe
