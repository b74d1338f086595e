// POSIX files with errors as Status, and the three steps that make a write survive a crash: sync the file,
// rename it, sync the folder.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Owns a file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

// The status for `error` (an errno): NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED DISK_FULL, UNAVAILABLE
// DISK_READ_ONLY, else INTERNAL IO_ERROR. The message is "WHAT: TEXT".
absl::Status ErrnoError(int error, absl::string_view what);
// Whether an error means that a disk is full.
bool IsDiskFull(const absl::Status& status);
// Whether it means that a disk is full or takes nothing at all.
bool IsDiskUnusable(const absl::Status& status);

// Writes all bytes at the end of what was written before. RESOURCE_EXHAUSTED DISK_FULL.
absl::Status WriteAll(int fd, absl::string_view bytes);

// Creates a folder and its parents, each entry synced.
absl::Status MakeDirs(const std::string& dir);

absl::Status SyncFile(int fd);
absl::Status SyncDir(const std::string& dir);

// Renames within one file system, replacing `to`, and syncs the folder of `to`.
absl::Status RenameDurably(const std::string& from, const std::string& to);

// Replaces `path` by `bytes`: after a crash it holds the old or the new content, never a part.
absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes);
// The same of bytes that lie in several places.
absl::Status WriteFileDurably(const std::string& path, const std::vector<absl::string_view>& pieces);

}  // namespace quantmoe
