// A read-only memory map that lives as long as any copy of the handle.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Cheap to copy. Thread-safe to read.
class MappedFile {
 public:
  MappedFile() = default;
  // A view into memory that `owner` keeps alive.
  MappedFile(std::shared_ptr<const void> owner, absl::string_view bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}
  // NOT_FOUND when there is no such file. Empty files are fine.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  // Maps `length` bytes at `offset`. NOT_FOUND; OUT_OF_RANGE when the file is shorter.
  static absl::StatusOr<MappedFile> OpenRange(const std::string& path, int64_t offset, int64_t length);
  // Wraps bytes held in memory, for stores that have no file.
  static MappedFile FromString(std::string bytes);

  absl::string_view bytes() const { return bytes_; }
  // A part that keeps the whole alive. The range must lie inside.
  MappedFile Slice(int64_t offset, int64_t length) const {
    return MappedFile(owner_, bytes_.substr(static_cast<size_t>(offset), static_cast<size_t>(length)));
  }
  // Keeps the map alive; for owners of views into it.
  std::shared_ptr<const void> owner() const { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  absl::string_view bytes_;
};

}  // namespace quantmoe
