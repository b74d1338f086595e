// Ranges of immutable files on disk, shared by all jobs and processes of one user on one machine.
// Goals: a range is fetched once; nothing half-written is read; a process may die anywhere. Layout:
//   files/AB/KEY/OFFSET-LENGTH          a range, complete; KEY names the content
//   files/AB/KEY/OFFSET-LENGTH.partial  one that is being fetched
//   files/AB/KEY/lock                   locked byte by byte while ranges of the file are fetched
//   documents/KEY                       a small text
// Non-goals: sharing between users (the folder is readable by its owner only), change of content.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/mapped_file.h"

namespace quantmoe {

// Thread-safe.
class HubCache {
 public:
  // Creates the folder. Once more than `max_bytes` of ranges are stored, those that were used longest ago go;
  // 0: no limit.
  static absl::StatusOr<std::unique_ptr<HubCache>> Open(std::string dir, int64_t max_bytes);

  // Writes the range from position 0 of the file; the first `present` bytes are there from an earlier try.
  using Fill = std::function<absl::Status(int fd, int64_t present)>;
  // Bytes [offset, offset + length) of the file `key` (hexadecimal). `fill` runs when no stored range holds
  // them and no other process is fetching them. What a failed try has written is offered to the next one if
  // `resumable`: whoever fills must then check the whole. RESOURCE_EXHAUSTED DISK_FULL; errors of `fill`.
  absl::StatusOr<MappedFile> FindOrFill(const std::string& key, int64_t offset, int64_t length,
                                        bool resumable, const Fill& fill);
  bool Holds(const std::string& key, int64_t offset, int64_t length) const;

  std::optional<std::string> FindDocument(const std::string& key) const;
  absl::Status PutDocument(const std::string& key, absl::string_view text);

 private:
  HubCache(std::string dir, int64_t max_bytes) : dir_(std::move(dir)), max_bytes_(max_bytes) {}

  // Makes a folder of the cache, which anybody may empty while it is in use.
  absl::Status MakeFolder(absl::string_view name) const;
  std::string FileDir(const std::string& key) const;
  std::optional<MappedFile> Find(const std::string& key, int64_t offset, int64_t length) const;
  absl::Status Store(const std::string& path, int64_t length, bool resumable, const Fill& fill);
  void Shrink() const;

  const std::string dir_;
  const int64_t max_bytes_;
  std::atomic<int64_t> stored_bytes_{0};  // since the last look at all files
};

}  // namespace quantmoe
