#include "storage/artifact_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <nlohmann/json.hpp>

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/interruption.h"
#include "base/json.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;
constexpr char kManifestName[] = "artifact.json";

absl::Status Invalid(absl::string_view message) {
  return MakeError(absl::StatusCode::kInternal, "MANIFEST_INVALID", absl::StrCat("artifact.json: ", message));
}

absl::Status FileError(absl::string_view what, const std::error_code& error) {
  const bool full = error == std::errc::no_space_on_device;
  return MakeError(full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
                   full ? "DISK_FULL" : "FILE_ERROR", absl::StrCat(what, ": ", error.message()));
}

absl::Status SyncPath(const fs::path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    const std::error_code error(errno, std::generic_category());
    if (fd >= 0) close(fd);
    return FileError(absl::StrCat("sync ", path.filename().string()), error);
  }
  close(fd);
  return absl::OkStatus();
}

// Paths come from a worker: they must stay inside the directory.
bool IsPlainRelativePath(const std::string& path) {
  if (path.empty() || path == kManifestName || path.front() == '/') return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return path.find('\0') == std::string::npos;
}

absl::StatusOr<std::vector<ArtifactFile>> ParseManifest(absl::string_view bytes) {
  const nlohmann::json json = ParseJson(bytes).value_or(nullptr);
  if (!json.is_object() || !json.contains("files") || !json["files"].is_array())
    return Invalid("no list of files");
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

// Verifies the blob and puts it at `target`.
absl::Status Place(LocalBlobStore& blobs, const Digest& blob, const fs::path& target) {
  RETURN_IF_ERROR(blobs.Open(blob).status());
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (error) return FileError("create directory", error);
  fs::create_hard_link(blobs.PathOf(blob), target, error);
  if (!error) return absl::OkStatus();  // the blob's bytes are durable already
  error.clear();
  fs::copy_file(blobs.PathOf(blob), target, error);
  if (error) return FileError(absl::StrCat("copy ", target.filename().string()), error);
  return SyncPath(target, O_RDONLY);
}

absl::Status SyncDirectories(const fs::path& root) {
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_directory()) RETURN_IF_ERROR(SyncPath(entry.path(), O_RDONLY | O_DIRECTORY));
  }
  return SyncPath(root, O_RDONLY | O_DIRECTORY);
}

}  // namespace

absl::StatusOr<std::vector<ArtifactFile>> MaterialiseArtifact(LocalBlobStore& blobs, const Digest& manifest,
                                                              const std::string& directory) {
  ASSIGN_OR_RETURN(const MappedFile bytes, blobs.Open(manifest));
  ASSIGN_OR_RETURN(std::vector<ArtifactFile> files, ParseManifest(bytes.bytes()));
  const fs::path target(directory);
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const fs::path staging = parent / absl::StrCat(".", target.filename().string(), ".partial");
  std::error_code error;
  fs::remove_all(staging, error);
  fs::create_directories(staging, error);
  if (error) return FileError("create directory", error);
  for (const ArtifactFile& file : files) {
    RETURN_IF_ERROR(CheckInterrupted());
    RETURN_IF_ERROR(Place(blobs, file.digest, staging / file.path));
    CrashPoint("publish-file-placed");
  }
  RETURN_IF_ERROR(Place(blobs, manifest, staging / kManifestName));
  RETURN_IF_ERROR(SyncDirectories(staging));
  CrashPoint("before-publish-rename");
  fs::remove_all(target, error);
  fs::rename(staging, target, error);
  if (error) return FileError("rename", error);
  RETURN_IF_ERROR(SyncPath(parent, O_RDONLY | O_DIRECTORY));
  CrashPoint("after-publish-rename");
  return files;
}

}  // namespace quantmoe
