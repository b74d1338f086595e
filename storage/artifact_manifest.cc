#include "storage/artifact_manifest.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/json.h"
#include "base/json_number.h"
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

// A folder below `parent` (AT_FDCWD or a folder) that is no link.
FileDescriptor OpenFolder(int parent, const std::string& name) {
  return FileDescriptor(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// The same of a path below `root`, component by component: a link in the middle would lead to somebody
// else's files.
FileDescriptor OpenFolderBelow(int root, const fs::path& relative) {
  FileDescriptor folder = OpenFolder(root, ".");
  for (const fs::path& part : relative) {
    if (!folder.ok()) return folder;
    folder = OpenFolder(folder.get(), part.string());
  }
  return folder;
}

// A file that is there and no link. What else has its name is none of ours and stays.
absl::Status Unlink(int root, const std::string& path) {
  const fs::path relative(path);
  const FileDescriptor parent = OpenFolderBelow(root, relative.parent_path());
  const std::string name = relative.filename().string();
  struct stat info {};
  if (!parent.ok() || ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(info.st_mode)) {
    return absl::OkStatus();
  }
  if (::unlinkat(parent.get(), name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("cannot remove ", path));
}

// A folder with something in it stays; the caller says what that is.
void RemoveIfEmpty(int root, const std::string& path) {
  const fs::path relative(path);
  const FileDescriptor parent = OpenFolderBelow(root, relative.parent_path());
  if (parent.ok()) ::unlinkat(parent.get(), relative.filename().c_str(), AT_REMOVEDIR);
}

// What an artifact is made of: its files, the manifest among them, and the folders on the way to them.
struct Content {
  std::set<std::string> files = {kManifestName};
  std::set<std::string, std::greater<>> folders;  // the deepest first

  explicit Content(const std::vector<ArtifactFile>& listed) {
    for (const ArtifactFile& file : listed) {
      files.insert(file.path);
      for (fs::path up = fs::path(file.path).parent_path(); !up.empty(); up = up.parent_path())
        folders.insert(up.string());
    }
  }

  // By name and by kind: a link is neither a file nor a folder of ours.
  bool Has(const std::string& path, fs::file_type type) const {
    return (type == fs::file_type::regular && files.contains(path)) ||
           (type == fs::file_type::directory && folders.contains(path));
  }
};

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
        !FindInteger<int64_t>(entry["size"])) {
      return Invalid("a file without path, sha256 and size");
    }
    ArtifactFile file{entry["path"].get<std::string>(),
                      {entry["sha256"].get<std::string>(), *FindInteger<int64_t>(entry["size"])}};
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
  const Content ours(files);
  std::set<std::string> foreign;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().lexically_relative(directory).string();
    std::error_code ignored;
    if (entry.depth() == 0 && WorkDirectory::IsMarked(entry->path())) {
      entry.disable_recursion_pending();
    } else {
      const fs::file_type type = entry->symlink_status(ignored).type();
      // What has gone since it was listed is in nobody's way.
      if (type != fs::file_type::not_found && !ours.Has(path, type)) foreign.insert(path);
    }
  }
  // What cannot be listed cannot be vouched for.
  if (error) return absl::StrCat(directory, " (", error.message(), ")");
  return foreign.empty() ? "" : *foreign.begin();
}

absl::Status RemoveArtifact(const std::string& directory) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(directory, ignored))) return absl::OkStatus();
  const FileDescriptor root = OpenFolder(AT_FDCWD, directory);
  if (!root.ok()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "FOREIGN_FILE",
                     absl::StrCat(directory, " is kept: it is no folder, or a link to one"));
  }
  ASSIGN_OR_RETURN(const std::vector<ArtifactFile> files, ReadArtifactManifest(directory));
  const Content ours(files);
  for (const ArtifactFile& file : files) RETURN_IF_ERROR(Annotate(Unlink(root.get(), file.path), directory));
  RETURN_IF_ERROR(Annotate(Unlink(root.get(), kManifestName), directory));
  for (const std::string& folder : ours.folders) RemoveIfEmpty(root.get(), folder);
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end;
       entry.increment(ignored))
    RETURN_IF_ERROR(RemoveWorkDirectory(entry->path()));
  ::rmdir(directory.c_str());
  if (!fs::exists(directory, ignored)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "FOREIGN_FILE",
                   absl::StrCat(directory, " is kept: it holds ", FirstForeignEntry(directory, {}),
                                ", which the artifact does not list"));
}

}  // namespace quantmoe
