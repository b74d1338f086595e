#include "storage/work_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include <sys/file.h>
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

constexpr char kMarkerText[] =
    "A working folder of quantmoe: it holds results of a run that has not ended. The same command goes on "
    "with\nthem. Without this file the folder is left alone.\n";

// Blobs and results of tasks; a folder that is being put in place, and the one that it replaces; blobs that a
// worker has fetched.
constexpr const char* kOwnEntries[] = {"blobs", "results", "new", "old", "cache"};

std::string MarkerOf(const std::string& path) { return absl::StrCat(path, "/", WorkDirectory::kMarkerName); }

absl::Status NotOurs(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "NOT_A_WORK_DIRECTORY",
                   absl::StrCat(path, " ", what));
}

// Where the file system knows no locks, nobody is kept out.
absl::Status LockMarker(int fd, int operation, const std::string& path) {
  while (::flock(fd, operation | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return absl::OkStatus();
    return MakeError(absl::StatusCode::kAborted, "WORK_DIRECTORY_IN_USE",
                     absl::StrCat("another process works in ", path));
  }
  return absl::OkStatus();
}

// Anything but the marker.
bool HoldsMore(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename() != WorkDirectory::kMarkerName) return true;
  }
  return false;
}

bool IsFileAt(int fd, const std::string& path) {
  struct stat open {
  }, named{};
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
         open.st_dev == named.st_dev;
}

}  // namespace

bool WorkDirectory::IsMarked(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(fs::symlink_status(path, ignored)) &&
         fs::is_regular_file(fs::symlink_status(MarkerOf(path), ignored));
}

absl::Status WorkDirectory::Check(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (!fs::is_directory(path, error)) return NotOurs(path, "is no folder");
  if (IsMarked(path)) return absl::OkStatus();
  const bool empty = fs::is_empty(path, error);
  if (error) return NotOurs(path, absl::StrCat("cannot be read: ", error.message()));
  if (empty) return absl::OkStatus();
  return NotOurs(path, absl::StrCat("exists, and no run has marked it as its working folder (with a file ",
                                    kMarkerName, "): move it, or choose another name"));
}

absl::StatusOr<WorkDirectory> WorkDirectory::Open(const std::string& path, Use use) {
  const std::string marker = MarkerOf(path);
  while (true) {
    RETURN_IF_ERROR(Check(path));
    RETURN_IF_ERROR(MakeDirs(path));
    FileDescriptor fd(::open(marker.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!fd.ok()) {
      if (errno == ENOENT) continue;  // whoever worked there has removed it
      return ErrnoError(errno, absl::StrCat("cannot create ", marker));
    }
    RETURN_IF_ERROR(LockMarker(fd.get(), use == Use::kAlone ? LOCK_EX : LOCK_SH, path));
    if (!IsFileAt(fd.get(), marker)) continue;
    struct stat info {};
    if (::fstat(fd.get(), &info) == 0 && info.st_size == 0) RETURN_IF_ERROR(WriteAll(fd.get(), kMarkerText));
    return WorkDirectory(path, std::move(fd));
  }
}

absl::Status WorkDirectory::Clear(const std::string& entry) const {
  const bool ours = std::find(std::begin(kOwnEntries), std::end(kOwnEntries), entry) != std::end(kOwnEntries);
  if (!ours || !IsMarked(path_)) return NotOurs(absl::StrCat(path_, "/", entry), "is not ours to remove");
  std::error_code error;
  fs::remove_all(fs::path(path_) / entry, error);
  return error ? ErrnoError(error.value(), absl::StrCat("cannot remove ", path_, "/", entry))
               : absl::OkStatus();
}

absl::Status WorkDirectory::Remove() {
  // Two that end at the same time: the last one removes.
  if (!LockMarker(marker_.get(), LOCK_EX, path_).ok()) return absl::OkStatus();
  for (const char* entry : kOwnEntries) RETURN_IF_ERROR(Clear(entry));
  if (HoldsMore(path_)) return absl::OkStatus();
  if (::unlink(MarkerOf(path_).c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, absl::StrCat("cannot remove ", MarkerOf(path_)));
  if (::rmdir(path_.c_str()) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST)
    return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("cannot remove ", path_));
}

absl::Status RemoveWorkDirectory(const std::string& path) {
  if (!WorkDirectory::IsMarked(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(WorkDirectory work, WorkDirectory::Open(path, WorkDirectory::Use::kAlone));
  return work.Remove();
}

}  // namespace quantmoe
