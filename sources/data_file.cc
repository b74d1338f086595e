#include "sources/data_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "sources/hub_directory.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr char kPrefix[] = "hf://datasets/";

absl::Status Refuse(absl::string_view why) { return InvalidFields({{"uri", std::string(why)}}); }

// As the Hub's own URIs: a revision with slashes is one of two known kinds.
size_t RevisionSegments(const std::vector<std::string>& segments) {
  const bool reference =
      segments.size() > 2 && segments[0] == "refs" && (segments[1] == "convert" || segments[1] == "pr");
  return reference ? 3 : 1;
}

// Not a control character, nor one that a URL reads otherwise.
bool IsPlainInPath(char c) {
  return !absl::ascii_iscntrl(static_cast<unsigned char>(c)) && !absl::StrContains("@?%#", c);
}

// The last segment of a path, and what is before it.
std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

absl::Status NotFound(const DataUri& uri, const absl::Status& status) {
  if (!absl::IsNotFound(status)) return status;
  return MakeError(absl::StatusCode::kNotFound, "DATA_NOT_FOUND",
                   absl::StrCat(uri.ToString(), " does not exist: ", status.message()),
                   {{"uri", uri.ToString()}});
}

}  // namespace

std::string DataUri::ToString() const { return absl::StrCat(repository.ToString(), "/", path); }

bool IsDataUri(absl::string_view text) { return absl::StartsWith(text, "hf://"); }

absl::StatusOr<DataUri> ParseDataUri(absl::string_view text) {
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, kPrefix)) {
    return Refuse("must be hf://datasets/owner/name@revision/path");
  }
  std::vector<std::string> segments = absl::StrSplit(rest, '/');
  if (segments.size() < 3) return Refuse("must name owner, data set and file");
  const std::vector<std::string> name = absl::StrSplit(segments[1], absl::MaxSplits('@', 1));
  std::string repository = absl::StrCat("hf://datasets/", segments[0], "/", name[0]);
  segments.erase(segments.begin(), segments.begin() + 2);
  std::string revision = "main";
  if (name.size() > 1) {
    segments.insert(segments.begin(), name[1]);
    const auto end = segments.begin() + static_cast<ptrdiff_t>(RevisionSegments(segments));
    revision = absl::StrJoin(segments.begin(), end, "/");
    segments.erase(segments.begin(), end);
  }
  const bool plain = !segments.empty() && std::none_of(segments.begin(), segments.end(), [](const auto& s) {
    return s.empty() || s == "." || s == ".." || !std::all_of(s.begin(), s.end(), IsPlainInPath);
  });
  if (!plain) return Refuse("must name a file in the data set, without .. and any of @ ? % #");
  DataUri uri;
  uri.path = absl::StrJoin(segments, "/");
  absl::StatusOr<ModelUri> parsed = ParseDatasetUri(absl::StrCat(repository, "@", revision));
  if (!parsed.ok()) return Refuse(GetErrorInfo(parsed.status()).violations.front().description);
  uri.repository = *std::move(parsed);
  return uri;
}

absl::StatusOr<DataFile> ReadDataFile(absl::string_view text, const ModelSources& sources) {
  ASSIGN_OR_RETURN(DataUri uri, ParseDataUri(text));
  if (sources.confined) RETURN_IF_ERROR(ConfineModelUri(uri.repository, sources.roots).status());
  const auto [folder, name] = SplitPath(uri.path);
  const absl::StatusOr<std::unique_ptr<ModelDirectory>> directory =
      OpenHubDirectory(uri.repository, sources.hub, folder);
  if (!directory.ok()) return NotFound(uri, directory.status());
  uri.repository = (*directory)->uri();
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, (*directory)->List());
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&name = name](const auto& file) { return file.name == name; });
  if (found == files.end()) return NotFound(uri, absl::NotFoundError("the hub does not list it"));
  if (found->size_bytes > kMaxDataBytes) {
    return Refuse(
        absl::StrCat(uri.ToString(), " has ", found->size_bytes, " bytes, at most ", kMaxDataBytes));
  }
  absl::StatusOr<MappedFile> file = (*directory)->Read(name, 0, found->size_bytes);
  if (!file.ok()) return NotFound(uri, file.status());
  return DataFile{std::move(uri), *std::move(file)};
}

}  // namespace quantmoe
