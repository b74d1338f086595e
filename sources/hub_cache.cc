#include "sources/hub_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/interruption.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

constexpr char kPartial[] = ".partial";
constexpr absl::Duration kLockPoll = absl::Milliseconds(20);
// Partial files of processes that are gone.
constexpr auto kAbandoned = std::chrono::hours(24);

// Locks the bytes of a range for this open file, so that threads exclude each other as processes do. The
// kernel drops the lock of a process that dies.
absl::StatusOr<FileDescriptor> LockRange(const std::string& path, int64_t offset, int64_t length) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.ok()) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = offset;
  lock.l_len = length;
  while (::fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES && errno != EINTR)
      return ErrnoError(errno, absl::StrCat("cannot lock ", path));
    // Whoever holds it fetches the range, which may take long; a wait in the kernel could not be given up.
    RETURN_IF_ERROR(SleepUnlessInterrupted(kLockPoll));
  }
  return file;
}

std::string RangeName(int64_t offset, int64_t length) { return absl::StrCat(offset, "-", length); }

struct StoredRange {
  int64_t offset = 0, length = 0;
};

std::optional<StoredRange> ParseRangeName(absl::string_view name) {
  StoredRange range;
  const size_t dash = name.find('-');
  if (dash == absl::string_view::npos || !absl::SimpleAtoi(name.substr(0, dash), &range.offset) ||
      !absl::SimpleAtoi(name.substr(dash + 1), &range.length)) {
    return std::nullopt;
  }
  return range;
}

// A stored range that holds the wanted one.
std::optional<StoredRange> FindCovering(const std::string& dir, int64_t offset, int64_t length) {
  if (::access(absl::StrCat(dir, "/", RangeName(offset, length)).c_str(), R_OK) == 0) {
    return StoredRange{offset, length};
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(dir.c_str()), &::closedir);
  while (entries != nullptr) {
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    const std::optional<StoredRange> range = ParseRangeName(entry->d_name);
    if (range.has_value() && range->offset <= offset && range->length - (offset - range->offset) >= length) {
      return range;
    }
  }
  return std::nullopt;
}

struct CachedFile {
  fs::file_time_type used;
  int64_t bytes = 0;
  fs::path path;
};

std::vector<CachedFile> ListCached(const std::string& dir) {
  std::vector<CachedFile> files;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::recursive_directory_iterator entry(dir, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    // Whatever has another name is not ours to remove.
    const fs::path& path = entry->path();
    const bool partial = path.extension() == kPartial;
    if (!entry->is_regular_file(gone) || !ParseRangeName((partial ? path.stem() : path.filename()).string()))
      continue;
    const auto used = entry->last_write_time(gone);
    const auto bytes = static_cast<int64_t>(entry->file_size(gone));
    if (gone || (partial && now - used < kAbandoned)) continue;
    files.push_back({used, bytes, path});
  }
  return files;
}

// Models may be private.
absl::Status MakePrivateDir(const std::string& dir) {
  struct stat info {};
  if (::stat(dir.c_str(), &info) == 0) return MakeDirs(dir);
  RETURN_IF_ERROR(MakeDirs(dir));
  return ::chmod(dir.c_str(), 0700) == 0 ? absl::OkStatus()
                                         : ErrnoError(errno, absl::StrCat("cannot protect ", dir));
}

}  // namespace

absl::StatusOr<std::unique_ptr<HubCache>> HubCache::Open(std::string dir, int64_t max_bytes) {
  std::unique_ptr<HubCache> cache(new HubCache(std::move(dir), max_bytes));
  RETURN_IF_ERROR(cache->MakeFolder("documents"));
  RETURN_IF_ERROR(cache->MakeFolder("files"));
  cache->Shrink();
  return cache;
}

absl::Status HubCache::MakeFolder(absl::string_view name) const {
  RETURN_IF_ERROR(MakePrivateDir(dir_));
  return MakeDirs(absl::StrCat(dir_, "/", name));
}

std::string HubCache::FileDir(const std::string& key) const {
  return absl::StrCat(dir_, "/files/", key.substr(0, 2), "/", key);
}

bool HubCache::Holds(const std::string& key, int64_t offset, int64_t length) const {
  return FindCovering(FileDir(key), offset, length).has_value();
}

// Nothing when the file goes away between two steps.
std::optional<MappedFile> HubCache::Find(const std::string& key, int64_t offset, int64_t length) const {
  const std::string dir = FileDir(key);
  const std::optional<StoredRange> range = FindCovering(dir, offset, length);
  if (!range.has_value()) return std::nullopt;
  const std::string path = absl::StrCat(dir, "/", RangeName(range->offset, range->length));
  absl::StatusOr<MappedFile> map = MappedFile::OpenRange(path, offset - range->offset, length);
  // A file that was cut short would be found, and found too short, each time.
  if (absl::IsOutOfRange(map.status())) ::unlink(path.c_str());
  if (!map.ok()) return std::nullopt;
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now; what fails only ages
  return *std::move(map);
}

absl::StatusOr<MappedFile> HubCache::FindOrFill(const std::string& key, int64_t offset, int64_t length,
                                                bool resumable, const Fill& fill) {
  if (std::optional<MappedFile> found = Find(key, offset, length)) return *std::move(found);
  const std::string dir = FileDir(key);
  RETURN_IF_ERROR(MakeFolder("files"));
  RETURN_IF_ERROR(MakeDirs(dir));
  ASSIGN_OR_RETURN(const FileDescriptor lock, LockRange(dir + "/lock", offset, length));
  if (std::optional<MappedFile> found = Find(key, offset, length)) return *std::move(found);
  const std::string path = absl::StrCat(dir, "/", RangeName(offset, length));
  RETURN_IF_ERROR(Store(path, length, resumable, fill));
  absl::StatusOr<MappedFile> map = MappedFile::OpenRange(path, 0, length);
  if ((stored_bytes_ += length) > max_bytes_ / 16) {
    stored_bytes_ = 0;
    Shrink();
  }
  return map;
}

absl::Status HubCache::Store(const std::string& path, int64_t length, bool resumable, const Fill& fill) {
  const std::string partial = path + kPartial;
  const FileDescriptor file(::open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct stat info {};
  if (!file.ok() || ::fstat(file.get(), &info) != 0)
    return ErrnoError(errno, absl::StrCat("cannot open ", partial));
  if ((!resumable || info.st_size > length) && ::ftruncate(file.get(), info.st_size = 0) != 0)
    return ErrnoError(errno, absl::StrCat("cannot empty ", partial));
  const absl::Status filled = fill(file.get(), info.st_size);
  if (!filled.ok()) {
    if (!resumable) ::unlink(partial.c_str());
    return filled;
  }
  if (::fstat(file.get(), &info) != 0 || info.st_size != length)
    return absl::InternalError(absl::StrCat(partial, " has ", info.st_size, " bytes, expected ", length));
  RETURN_IF_ERROR(SyncFile(file.get()));
  return RenameDurably(partial, path);
}

std::optional<std::string> HubCache::FindDocument(const std::string& key) const {
  const absl::StatusOr<MappedFile> map = MappedFile::Open(absl::StrCat(dir_, "/documents/", key));
  if (!map.ok()) return std::nullopt;
  return std::string(map->bytes());
}

absl::Status HubCache::PutDocument(const std::string& key, absl::string_view text) {
  RETURN_IF_ERROR(MakeFolder("documents"));
  return WriteFileDurably(absl::StrCat(dir_, "/documents/", key), text);
}

void HubCache::Shrink() const {
  if (max_bytes_ == 0) return;
  std::vector<CachedFile> files = ListCached(dir_ + "/files");
  int64_t bytes = 0;
  for (const CachedFile& file : files) bytes += file.bytes;
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  for (const CachedFile& file : files) {
    if (bytes <= max_bytes_) return;
    std::error_code ignored;  // another process may have been faster
    fs::remove(file.path, ignored);
    bytes -= file.bytes;
  }
}

}  // namespace quantmoe
