#include "storage/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status ErrnoError(int error, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", message);
    case EACCES:
    case EPERM:
      return MakeError(absl::StatusCode::kPermissionDenied, "FILE_ACCESS_DENIED", message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:  // a limit of the file system or of the process: no file grows further
      return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
    case EROFS:  // a disk that was mounted so, or that the kernel no longer trusts
      return MakeError(absl::StatusCode::kUnavailable, "DISK_READ_ONLY", message);
    default:
      return MakeError(absl::StatusCode::kInternal, "IO_ERROR", message);
  }
}

bool IsDiskFull(const absl::Status& status) {
  return !status.ok() && GetErrorInfo(status).reason == "DISK_FULL";
}

bool IsDiskUnusable(const absl::Status& status) {
  return IsDiskFull(status) || (!status.ok() && GetErrorInfo(status).reason == "DISK_READ_ONLY");
}

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError(errno, "cannot write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status MakeDirs(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0777) == 0) return SyncDir(ParentOf(dir));
  if (errno == ENOENT) {
    RETURN_IF_ERROR(MakeDirs(ParentOf(dir)));
    return MakeDirs(dir);
  }
  if (errno != EEXIST) return ErrnoError(errno, absl::StrCat("cannot create ", dir));
  std::error_code ignored;
  if (!std::filesystem::is_directory(dir, ignored)) return ErrnoError(ENOTDIR, dir);
  return absl::OkStatus();
}

absl::Status SyncFile(int fd) {
  return ::fsync(fd) == 0 ? absl::OkStatus() : ErrnoError(errno, "cannot sync");
}

absl::Status SyncDir(const std::string& dir) {
  FileDescriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot open ", dir));
  return SyncFile(fd.get());
}

absl::Status RenameDurably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return ErrnoError(errno, absl::StrCat("cannot rename to ", to));
  return SyncDir(ParentOf(to));
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes) {
  return WriteFileDurably(path, std::vector<absl::string_view>{bytes});
}

absl::Status WriteFileDurably(const std::string& path, const std::vector<absl::string_view>& pieces) {
  std::string staging = absl::StrCat(path, ".XXXXXX");
  FileDescriptor fd(::mkostemp(staging.data(), O_CLOEXEC));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot create ", path));
  absl::Status status;
  for (const absl::string_view piece : pieces) {
    if (status.ok()) status = WriteAll(fd.get(), piece);
  }
  if (status.ok() && ::fchmod(fd.get(), 0644) != 0) status = ErrnoError(errno, "cannot set the mode");
  if (status.ok()) status = SyncFile(fd.get());
  if (status.ok()) status = RenameDurably(staging, path);
  if (!status.ok()) ::unlink(staging.c_str());
  return Annotate(status, path);
}

}  // namespace quantmoe
