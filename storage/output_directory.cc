#include "storage/output_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/artifact_manifest.h"
#include "storage/durable_file.h"
#include "storage/work_directory.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

absl::Status Refuse(absl::string_view message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "OUTPUT_EXISTS", message);
}

bool IsOrLiesIn(const std::string& path, const std::string& folder) {
  return path == folder || absl::StartsWith(path, folder == "/" ? folder : absl::StrCat(folder, "/"));
}

// A folder that a publication was filling when it ended: beside its staging folder there are files that the
// staged manifest lists.
bool IsUnfinished(const std::string& path) {
  const std::string staging = StagingWithin(path);
  if (!WorkDirectory::IsMarked(staging)) return false;
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(absl::StrCat(path, "/", kManifestName), ignored))) return false;
  const auto files = ReadArtifactManifest(absl::StrCat(staging, "/new"));
  return FirstForeignEntry(path, files.ok() ? *files : std::vector<ArtifactFile>()).empty();
}

bool IsMountPoint(const std::string& path) {
  struct stat inside {
  }, above{};
  return ::stat(path.c_str(), &inside) == 0 && ::stat(absl::StrCat(path, "/..").c_str(), &above) == 0 &&
         (inside.st_dev != above.st_dev || inside.st_ino == above.st_ino);
}

absl::StatusOr<OutputState> JudgeArtifact(const std::string& path, bool overwrite) {
  const auto files = ReadArtifactManifest(path);
  if (!files.ok()) {
    return Refuse(absl::StrCat(path, " exists already, is not empty, and is no artifact (it has no ",
                               kManifestName, " of ours): choose a new name or an empty folder"));
  }
  if (!overwrite)
    return Refuse(absl::StrCat(path, " exists already: an earlier artifact, which --overwrite replaces"));
  const std::string foreign = FirstForeignEntry(path, *files);
  if (!foreign.empty()) {
    return Refuse(absl::StrCat(path, " is an earlier artifact, but it also holds ", foreign,
                               ", which is not of it: move that file, or choose a new name"));
  }
  if (IsMountPoint(path))
    return Refuse(absl::StrCat(path, " is a mount point, so the artifact in it cannot be replaced"));
  return OutputState::kArtifact;
}

// An earlier run ended between the two steps of a replacement where the file system has no single one.
absl::Status CheckInterruptedReplacement(const std::string& path, bool overwrite) {
  const std::string staging = StagingBeside(path);
  std::error_code ignored;
  if (overwrite || !WorkDirectory::IsMarked(staging) || !fs::exists(staging + "/old", ignored))
    return absl::OkStatus();
  return Refuse(absl::StrCat("a replacement of ", path, " was interrupted: the earlier artifact is whole in ",
                             staging, "/old, the new one in ", staging,
                             "/new. Move the one to keep; --overwrite drops both"));
}

absl::Status KeepApart(const std::string& path, const std::vector<ReadFolder>& apart_from) {
  for (const ReadFolder& folder : apart_from) {
    if (folder.path.empty()) continue;
    if (path == folder.path) return Refuse(absl::StrCat(path, " is ", folder.what));
    if (IsOrLiesIn(path, folder.path))
      return Refuse(absl::StrCat(path, " lies in ", folder.what, " (", folder.path, ")"));
    if (IsOrLiesIn(folder.path, path))
      return Refuse(absl::StrCat(path, " holds ", folder.what, " (", folder.path, ")"));
  }
  return absl::OkStatus();
}

// A run of hours should not end at a folder that cannot be written.
absl::Status CheckCreatable(const std::string& path) {
  fs::path parent = fs::path(path).parent_path();
  std::error_code ignored;
  while (!fs::exists(fs::symlink_status(parent, ignored)) && parent.has_relative_path())
    parent = parent.parent_path();
  if (!fs::is_directory(parent, ignored)) return Refuse(absl::StrCat(parent.string(), " is no folder"));
  if (::access(parent.c_str(), W_OK | X_OK) != 0)
    return Refuse(absl::StrCat(parent.string(), " cannot be written"));
  if (fs::path(StagingBeside(path)).filename().string().size() > NAME_MAX)
    return Refuse(absl::StrCat(path, ": the name is too long"));
  return absl::OkStatus();
}

absl::Status CheckCurrentDirectory(const std::string& path, OutputState state) {
  std::error_code error;
  const std::string current = fs::current_path(error).string();
  if (error || state != OutputState::kArtifact || !IsOrLiesIn(current, path)) return absl::OkStatus();
  return Refuse(absl::StrCat(path, " is or holds the current folder, so it cannot be replaced"));
}

absl::Status CheckFolder(const std::string& path, const OutputRules& rules) {
  if (path.empty()) return Refuse("must be given");
  RETURN_IF_ERROR(KeepApart(path, rules.apart_from));
  ASSIGN_OR_RETURN(const OutputState state, JudgeOutput(path, rules.overwrite));
  RETURN_IF_ERROR(CheckCurrentDirectory(path, state));
  if (state == OutputState::kEmpty) {
    return ::access(path.c_str(), W_OK | X_OK) == 0 ? absl::OkStatus()
                                                    : Refuse(absl::StrCat(path, " cannot be written"));
  }
  RETURN_IF_ERROR(WorkDirectory::Check(StagingBeside(path)));
  return CheckCreatable(path);
}

// A pipe or a device, also by a name such as /dev/stdout, whose target has none.
bool IsDevice(const std::string& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

absl::Status AsViolation(const absl::Status& status, const std::string& flag) {
  if (status.ok()) return status;
  return InvalidFields({{flag, std::string(status.message())}});
}

absl::Status CheckFile(const std::string& path, const std::vector<ReadFolder>& apart_from) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return Refuse(absl::StrCat(path, " is a directory"));
  const fs::path parent = fs::path(path).parent_path();
  if (!fs::is_directory(parent, ignored))
    return Refuse(absl::StrCat("there is no directory '", parent.string(), "'"));
  if (!fs::exists(path, ignored)) return absl::OkStatus();
  for (const ReadFolder& folder : apart_from) {
    // Also by another link to the same file.
    const bool same = path == folder.path || (fs::equivalent(path, folder.path, ignored) && !ignored);
    if (same) return Refuse(absl::StrCat(path, " is ", folder.what));
    if (!folder.path.empty() && IsOrLiesIn(path, folder.path))
      return Refuse(absl::StrCat(path, " is a file of ", folder.what));
  }
  return absl::OkStatus();
}

}  // namespace

std::string NormalPath(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error) return path;
  fs::path normal = fs::weakly_canonical(absolute, error);
  if (error) normal = absolute.lexically_normal();
  while (!normal.has_filename() && normal.has_relative_path()) normal = normal.parent_path();
  return normal.string();
}

std::vector<ReadFolder> FoldersOfModel(const std::string& directory) {
  const std::string root = NormalPath(directory);
  std::error_code error;
  if (!fs::is_directory(root, error)) return {};
  std::vector<ReadFolder> folders = {{"the model", root}};
  for (fs::directory_iterator entry(root, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_symlink(ignored)) folders.push_back({"a file of the model", NormalPath(entry->path())});
  }
  return folders;
}

std::string StagingBeside(const std::string& path) {
  const fs::path normal(path);
  return (normal.parent_path() / absl::StrCat(".", normal.filename().string(), ".partial")).string();
}

std::string StagingWithin(const std::string& path) { return absl::StrCat(path, "/.quantmoe.partial"); }

absl::StatusOr<OutputState> JudgeOutput(const std::string& path, bool overwrite) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) {
    if (status.type() != fs::file_type::not_found) return Refuse(absl::StrCat(path, ": ", error.message()));
    RETURN_IF_ERROR(CheckInterruptedReplacement(path, overwrite));
    return OutputState::kNew;
  }
  if (!fs::is_directory(status)) return Refuse(absl::StrCat(path, " exists already and is no folder"));
  const bool empty = fs::is_empty(path, error);
  if (error) return Refuse(absl::StrCat(path, " cannot be read: ", error.message()));
  if (empty || IsUnfinished(path)) return OutputState::kEmpty;
  return JudgeArtifact(path, overwrite);
}

absl::StatusOr<std::string> CheckOutputDirectory(const std::string& path, const OutputRules& rules) {
  std::string normal = NormalPath(path);
  RETURN_IF_ERROR(AsViolation(CheckFolder(normal, rules), rules.flag));
  return normal;
}

absl::StatusOr<std::string> CheckWorkPath(const std::string& path, const OutputRules& rules) {
  std::string normal = NormalPath(path);
  absl::Status status = KeepApart(normal, rules.apart_from);
  status.Update(WorkDirectory::Check(normal));
  status.Update(CheckCreatable(normal));
  RETURN_IF_ERROR(AsViolation(status, rules.flag));
  return normal;
}

absl::Status CheckOutputFile(const std::string& path, const std::string& flag,
                             const std::vector<ReadFolder>& apart_from) {
  if (path.empty() || IsDevice(path)) return absl::OkStatus();
  if (path.back() == '/') return InvalidFields({{flag, absl::StrCat(path, " is the name of a folder")}});
  return AsViolation(CheckFile(NormalPath(path), apart_from), flag);
}

absl::Status CheckApart(const std::string& path, const std::string& flag,
                        const std::vector<ReadFolder>& apart_from) {
  if (path.empty() || IsDevice(path)) return absl::OkStatus();
  return AsViolation(KeepApart(NormalPath(path), apart_from), flag);
}

absl::Status WriteOutputFile(const std::string& path, const std::string& text) {
  if (!IsDevice(path)) return WriteFileDurably(NormalPath(path), text);
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot write ", path));
  return Annotate(WriteAll(fd.get(), text), path);
}

absl::Status ClaimDataDirectory(const std::string& path) {
  constexpr char kMark[] = ".quantmoe-data";
  std::error_code error;
  const bool ours =
      fs::exists(fs::path(path) / "state.db", error) || fs::exists(fs::path(path) / kMark, error);
  for (fs::directory_iterator entry(path, error), end; !ours && !error && entry != end;
       entry.increment(error)) {
    // A new file system has it.
    if (entry->path().filename() == "lost+found") continue;
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "DATA_DIR_FOREIGN",
        absl::StrCat("--data-dir: ", path, " holds ", entry->path().filename().string(),
                     " and no state.db, so no server has made it: give a new or an empty folder"));
  }
  RETURN_IF_ERROR(MakeDirs(path));
  // A disk that is full does not keep a server from starting: its database is a mark, too.
  (void)FileDescriptor(::open(absl::StrCat(path, "/", kMark).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  return absl::OkStatus();
}

}  // namespace quantmoe
