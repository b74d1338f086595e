#include "storage/publication.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/artifact_manifest.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

// Never over something that is there.
absl::Status MoveTo(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
    return absl::OkStatus();
  int error = errno;
  // A file system without that flag: nobody else is expected to create the name between the two steps.
  if (error == EINVAL || error == ENOSYS) {
    std::error_code ignored;
    const bool taken = fs::exists(fs::symlink_status(to, ignored));
    if (!taken && ::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    error = taken ? EEXIST : errno;
  }
  if (error == EEXIST || error == ENOTEMPTY) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "OUTPUT_EXISTS",
                     absl::StrCat(to, " has appeared meanwhile: move it away, or choose a new name"));
  }
  return ErrnoError(error, absl::StrCat("cannot move ", from, " to ", to));
}

// In one step. False with errno where the file system cannot.
bool Exchange(const std::string& a, const std::string& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

absl::Status SyncTree(const std::string& root) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory()) RETURN_IF_ERROR(SyncDir(entry->path()));
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot list ", root));
  return SyncDir(root);
}

// The names at the top of a folder, the manifest last.
absl::StatusOr<std::vector<std::string>> TopNames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename() != kManifestName) names.push_back(entry->path().filename());
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot list ", folder));
  names.emplace_back(kManifestName);
  return names;
}

std::string ParentOf(const std::string& path) { return fs::path(path).parent_path().string(); }

}  // namespace

absl::StatusOr<Publication> Publication::Begin(const std::string& target, bool overwrite) {
  ASSIGN_OR_RETURN(const OutputState state, JudgeOutput(target, overwrite));
  const std::string folder = state == OutputState::kEmpty ? StagingWithin(target) : StagingBeside(target);
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(folder, WorkDirectory::Use::kAlone));
  Publication publication(target, state, std::move(work));
  RETURN_IF_ERROR(MakeDirs(publication.staging()));
  if (state == OutputState::kEmpty) RETURN_IF_ERROR(publication.TakeBack());
  return publication;
}

absl::Status Publication::StartAgain() {
  RETURN_IF_ERROR(work_.Clear("new"));
  return MakeDirs(staging());
}

absl::Status Publication::Discard() { return work_.Remove(); }

absl::Status Publication::Finish() {
  RETURN_IF_ERROR(SyncTree(staging()));
  CrashPoint("before-publish-rename");
  const absl::Status placed = PutInPlace();
  if (!placed.ok()) return Annotate(placed, absl::StrCat("the artifact is whole in ", staging()));
  RETURN_IF_ERROR(SyncDir(ParentOf(target_)));
  CrashPoint("after-publish-rename");
  absl::Status tidied = old_.empty() ? absl::OkStatus() : RemoveArtifact(old_);
  if (tidied.ok()) tidied = work_.Remove();
  return Annotate(tidied, absl::StrCat("the artifact is in place in ", target_,
                                       ", but something of the earlier one is left"));
}

absl::Status Publication::PutInPlace() {
  switch (state_) {
    case OutputState::kNew:
      RETURN_IF_ERROR(work_.Clear("old"));
      return MoveTo(staging(), target_);
    case OutputState::kEmpty:
      return FillTarget();
    case OutputState::kArtifact:
      return SwapWithTarget();
  }
  return absl::OkStatus();
}

absl::Status Publication::FillTarget() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, TopNames(staging()));
  for (const std::string& name : names) {
    RETURN_IF_ERROR(MoveTo(absl::StrCat(staging(), "/", name), absl::StrCat(target_, "/", name)));
    CrashPoint("publish-file-moved");
  }
  return SyncDir(target_);
}

// Files that an interrupted one has put in place already are staged again. JudgeOutput has found that they
// are all of the staged manifest.
absl::Status Publication::TakeBack() {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(target_, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path() != work_.path()) names.push_back(entry->path().filename());
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot list ", target_));
  for (const std::string& name : names)
    RETURN_IF_ERROR(MoveTo(absl::StrCat(target_, "/", name), absl::StrCat(staging(), "/", name)));
  return absl::OkStatus();
}

absl::Status Publication::SwapWithTarget() {
  // Somebody may have put a file of his own there since Begin.
  RETURN_IF_ERROR(JudgeOutput(target_, /*overwrite=*/true).status());
  RETURN_IF_ERROR(work_.Clear("old"));
  const std::string old = absl::StrCat(work_.path(), "/old");
  if (Exchange(staging(), target_)) {
    CrashPoint("after-publish-exchange");
    // Or in the moment before.
    const absl::Status judged = JudgeOutput(staging(), /*overwrite=*/true).status();
    if (!judged.ok() && Exchange(staging(), target_)) return judged;
    old_ = staging();
    return absl::OkStatus();
  }
  if (errno != EINVAL && errno != ENOSYS) return ErrnoError(errno, absl::StrCat("cannot replace ", target_));
  RETURN_IF_ERROR(MoveTo(target_, old));
  CrashPoint("between-publish-renames");
  const absl::Status moved = MoveTo(staging(), target_);
  if (moved.ok()) {
    old_ = old;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(MoveTo(old, target_));
  return moved;
}

}  // namespace quantmoe
