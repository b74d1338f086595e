#include "storage/artifact_manifest.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"
#include "storage/mapped_file.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

absl::Status Invalid(absl::string_view message) {
  return MakeError(absl::StatusCode::kInternal, "MANIFEST_INVALID", absl::StrCat("artifact.json: ", message));
}

// Paths come from a worker or a server: they must stay inside the directory.
bool IsPlainRelativePath(const std::string& path) {
  if (path.empty() || path == kManifestName || path.front() == '/') return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return path.find('\0') == std::string::npos;
}

absl::Status Unlink(const fs::path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("cannot remove ", path.string()));
}

// A folder with something in it stays; the caller says what that is.
void RemoveIfEmpty(const fs::path& directory) { ::rmdir(directory.c_str()); }

}  // namespace

absl::StatusOr<std::vector<ArtifactFile>> ParseArtifactManifest(absl::string_view bytes) {
  const absl::StatusOr<nlohmann::json> parsed = ParseJson(bytes, kSmallJson);
  if (!parsed.ok()) return Invalid(parsed.status().message());
  const nlohmann::json& json = *parsed;
  if (!json.is_object() || !json.contains("files") || !json["files"].is_array())
    return Invalid("no list of files");
  if (json.contains("format") && json["format"] != "quantmoe.artifact") return Invalid("of another format");
  std::vector<ArtifactFile> files;
  std::set<std::string> paths;
  for (const auto& entry : json["files"]) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string() ||
        !entry.contains("sha256") || !entry["sha256"].is_string() || !entry.contains("size") ||
        !entry["size"].is_number_integer()) {
      return Invalid("a file without path, sha256 and size");
    }
    ArtifactFile file{entry["path"].get<std::string>(),
                      {entry["sha256"].get<std::string>(), entry["size"].get<int64_t>()}};
    if (!IsPlainRelativePath(file.path) || !paths.insert(file.path).second) {
      return Invalid(absl::StrCat("bad path ", file.path));
    }
    if (!IsSha256(file.digest.sha256)) return Invalid(absl::StrCat("bad sha256 of ", file.path));
    files.push_back(std::move(file));
  }
  return files;
}

absl::StatusOr<std::vector<ArtifactFile>> ReadArtifactManifest(const std::string& directory) {
  ASSIGN_OR_RETURN(const MappedFile bytes, MappedFile::Open(absl::StrCat(directory, "/", kManifestName)));
  return ParseArtifactManifest(bytes.bytes());
}

std::string FirstForeignEntry(const std::string& directory, const std::vector<ArtifactFile>& files) {
  std::set<std::string> ours = {kManifestName};
  for (const ArtifactFile& file : files) {
    for (fs::path path = file.path; !path.empty(); path = path.parent_path()) ours.insert(path.string());
  }
  std::set<std::string> foreign;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().lexically_relative(directory).string();
    if (WorkDirectory::IsMarked(entry->path())) {
      entry.disable_recursion_pending();
    } else if (!ours.contains(path)) {
      foreign.insert(path);
    }
  }
  // What cannot be listed cannot be vouched for.
  if (error) return absl::StrCat(directory, " (", error.message(), ")");
  return foreign.empty() ? "" : *foreign.begin();
}

absl::Status RemoveArtifact(const std::string& directory) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(directory, ignored))) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<ArtifactFile> files, ReadArtifactManifest(directory));
  std::set<std::string, std::greater<>> folders;  // the deepest first
  const fs::path root(directory);
  for (const ArtifactFile& file : files) {
    RETURN_IF_ERROR(Unlink(root / file.path));
    for (fs::path up = fs::path(file.path).parent_path(); !up.empty(); up = up.parent_path())
      folders.insert(up.string());
  }
  RETURN_IF_ERROR(Unlink(root / kManifestName));
  for (const std::string& folder : folders) RemoveIfEmpty(root / folder);
  for (fs::directory_iterator entry(root, ignored), end; !ignored && entry != end; entry.increment(ignored))
    RETURN_IF_ERROR(RemoveWorkDirectory(entry->path()));
  RemoveIfEmpty(root);
  if (!fs::exists(root, ignored)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "FOREIGN_FILE",
                   absl::StrCat(directory, " is kept: it holds ", FirstForeignEntry(directory, {}),
                                ", which the artifact does not list"));
}

}  // namespace quantmoe
