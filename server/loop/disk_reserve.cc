#include "server/loop/disk_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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

bool IsDiskFull(const absl::Status& status) {
  return !status.ok() && GetErrorInfo(status).reason == "DISK_FULL";
}

DiskReserve::DiskReserve(Options options)
    : options_(std::move(options)), path_(absl::StrCat(options_.dir, "/reserve")) {
  const int64_t capacity = CapacityOf(options_.dir);
  bytes_ = capacity > 0 ? std::min(options_.bytes, capacity / kSmallestShare) : options_.bytes;
}

bool DiskReserve::GiveUp() {
  absl::MutexLock lock(&mutex_);
  if (!full_.exchange(true)) Log(LogLevel::kError, "the disk of the data directory is full");
  const int64_t size = FileBytes();
  const int64_t part = std::max(bytes_ / kParts, kSmallestPart);
  return size > 0 && ::truncate(path_.c_str(), std::max<int64_t>(size - part, 0)) == 0;
}

void DiskReserve::NoteFull() {
  if (!full_.exchange(true)) Log(LogLevel::kError, "the disk of the data directory is full");
}

void DiskReserve::Refresh() {
  absl::MutexLock lock(&mutex_);
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

std::string DiskReserve::Explain() const {
  if (!full_) return "";
  // No number that changes: jobs store the sentence, and each change of it would write to the full disk.
  return absl::StrCat("the disk of the coordinator is full: tasks go on once ",
                      (bytes_ + NeededBytes()) >> 10, " KiB are free in ", options_.dir);
}

absl::Status DiskReserve::CheckRoom() {
  if (!full_) return absl::OkStatus();
  // Whoever has just made room need not wait until somebody looks.
  Refresh();
  const std::string reason = Explain();
  if (reason.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", reason, {{"place", "coordinator"}});
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
