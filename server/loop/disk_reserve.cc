#include "server/loop/disk_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/log.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

// On a file system of N bytes the file takes at most N divided by this.
constexpr int64_t kSmallestShare = 16;
constexpr int64_t kParts = 16;
constexpr int64_t kSmallestPart = 64 << 10;
// What a disk without a reserve must have free to count as usable again.
constexpr int64_t kLeastFreeBytes = 1 << 20;

int64_t CapacityOf(const std::string& dir) {
  std::error_code error;
  const auto space = std::filesystem::space(dir, error);
  return error ? 0 : static_cast<int64_t>(space.capacity);
}

}  // namespace

DiskReserve::DiskReserve(Options options)
    : options_(std::move(options)), path_(absl::StrCat(options_.dir, "/reserve")) {
  const int64_t capacity = CapacityOf(options_.dir);
  bytes_ = capacity > 0 ? std::min(options_.bytes, capacity / kSmallestShare) : options_.bytes;
}

bool DiskReserve::GiveUp() {
  absl::MutexLock lock(&file_mutex_);
  if (!full_.exchange(true)) Log(LogLevel::kError, "the disk of the data directory is full");
  const int64_t size = FileBytes();
  const int64_t part = std::max(bytes_ / kParts, kSmallestPart);
  return size > 0 && ::truncate(path_.c_str(), std::max<int64_t>(size - part, 0)) == 0;
}

void DiskReserve::NoteFailure(const absl::Status& error) {
  if (IsDiskFull(error)) return NoteFull();
  // Not the words of the error, which differ from writer to writer.
  NoteReadOnly(absl::StrCat(options_.dir, " (", std::strerror(EROFS), ")"));
}

void DiskReserve::NoteFull() {
  if (!full_.exchange(true)) Log(LogLevel::kError, "the disk of the data directory is full");
}

void DiskReserve::Refresh() {
  absl::MutexLock lock(&file_mutex_);
  NoteReadOnly(FindReadOnly());
  if (read_only_) return;
  const int64_t missing = std::max<int64_t>(bytes_ - FileBytes(), 0);
  const int64_t free = FreeBytes();
  if (missing > 0 && free >= missing + NeededBytes()) {
    const FileDescriptor file(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.ok() || ::posix_fallocate(file.get(), 0, bytes_) != 0) return;
  } else if (missing > 0) {
    full_ = true;
    return;
  }
  if (free - missing >= NeededBytes()) {
    if (full_.exchange(false)) Log(LogLevel::kInfo, "the disk of the data directory has room again");
  } else if (free - missing < NeededBytes() / 2) {
    NoteFull();
  }
}

std::string DiskReserve::FindReadOnly() const {
  for (const char* folder : {"", "/blobs/staging", "/artifacts"}) {
    const std::string dir = absl::StrCat(options_.dir, folder);
    if (const int error = WriteError(dir); error != 0)
      return absl::StrCat(dir, " (", std::strerror(error), ")");
  }
  return "";
}

void DiskReserve::NoteReadOnly(const std::string& reason) {
  {
    absl::MutexLock lock(&mutex_);
    read_only_reason_ = reason;
    if (read_only_.exchange(!reason.empty()) == !reason.empty()) return;
  }
  if (reason.empty()) return Log(LogLevel::kInfo, "the data directory can be written to again");
  Log(LogLevel::kError, "the data directory cannot be written to", {{"directory", reason}});
}

std::string DiskReserve::Explain() const {
  if (read_only_) {
    absl::MutexLock lock(&mutex_);
    if (!read_only_reason_.empty()) {
      return absl::StrCat("the coordinator cannot write to ", read_only_reason_, ": tasks go on once it can");
    }
  }
  if (!full_) return "";
  // No number that changes: whoever watches a job is told each change of the sentence.
  return absl::StrCat("the disk of the coordinator is full: tasks go on once ",
                      (bytes_ + NeededBytes()) >> 10, " KiB are free in ", options_.dir);
}

absl::Status DiskReserve::CheckRoom() {
  if (unusable()) Refresh();
  return status();
}

absl::Status DiskReserve::status() const {
  const std::string reason = Explain();
  if (reason.empty()) return absl::OkStatus();
  if (read_only_)
    return MakeError(absl::StatusCode::kUnavailable, "DISK_READ_ONLY", reason, {{"place", "coordinator"}});
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", reason, {{"place", "coordinator"}});
}

int DiskReserve::WriteError(const std::string& dir) const {
  if (options_.write_error) return options_.write_error(dir);
  if (::faccessat(AT_FDCWD, dir.c_str(), W_OK | X_OK, AT_EACCESS) == 0 || errno == ENOENT) return 0;
  return errno;
}

int64_t DiskReserve::FreeBytes() const {
  if (options_.free_bytes) return options_.free_bytes(options_.dir);
  std::error_code error;
  const auto space = std::filesystem::space(options_.dir, error);
  return error ? 0 : static_cast<int64_t>(space.available);
}

int64_t DiskReserve::FileBytes() const {
  struct stat info {};
  return ::stat(path_.c_str(), &info) == 0 ? int64_t{info.st_size} : 0;
}

int64_t DiskReserve::NeededBytes() const { return std::max(bytes_, kLeastFreeBytes); }

}  // namespace quantmoe
