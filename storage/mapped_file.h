// A read-only memory map that lives as long as any copy of the handle.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Cheap to copy. Thread-safe to read.
class MappedFile {
 public:
  MappedFile() = default;
  // NOT_FOUND when there is no such file. Empty files are fine.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  // Wraps bytes held in memory, for stores that have no file.
  static MappedFile FromString(std::string bytes);

  absl::string_view bytes() const { return bytes_; }
  // Keeps the map alive; for owners of views into it.
  std::shared_ptr<const void> owner() const { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  absl::string_view bytes_;
};

}  // namespace quantmoe
