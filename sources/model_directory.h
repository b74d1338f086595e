// Read access to the files of one model: local, in an object store or on the Hub. Local files are mapped;
// remote ones are read by range, so that a worker that solves layer 7 reads layer 7. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/model_uri.h"
#include "storage/mapped_file.h"

namespace quantmoe {

struct ModelFile {
  std::string name;  // relative to the model
  int64_t size_bytes = 0;
  std::string version;  // changes when the content may have changed: mtime in ns, or a digest
};

struct ByteRange {
  int64_t offset = 0;
  int64_t length = 0;
};
// The fewest ranges that hold all of `ranges`, sorted, when those at most `gap` bytes apart are joined. None
// that was joined is longer than `most` bytes.
std::vector<ByteRange> CoalesceRanges(std::vector<ByteRange> ranges, int64_t gap, int64_t most);

class ModelDirectory {
 public:
  static constexpr int64_t kMaxSmallFileBytes = int64_t{64} << 20;

  virtual ~ModelDirectory() = default;
  // Where the model is. Whoever opens it there later reads the same bytes, if the place can promise that: a
  // revision of the Hub has become a commit.
  virtual const ModelUri& uri() const = 0;
  // Plain files at the top level, by name.
  virtual absl::StatusOr<std::vector<ModelFile>> List() = 0;
  // Plain files of a folder below, by name, which begins with the folder and a slash. None when there is no
  // such folder; INVALID_ARGUMENT for a path that could leave the directory.
  virtual absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) = 0;
  // `length` bytes at `offset` of a file, no fewer. The name may have folders. NOT_FOUND
  // MODEL_FILE_NOT_FOUND; OUT_OF_RANGE.
  virtual absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) = 0;
  // Says which ranges of a file will be read soon, so that a remote place can fetch them together. Errors as
  // of Read.
  virtual absl::Status Prefetch(const std::string& name, std::vector<ByteRange> ranges);
  // A whole small file (at most `max_bytes`, else RESOURCE_EXHAUSTED). NOT_FOUND MODEL_FILE_NOT_FOUND;
  // INVALID_ARGUMENT MODEL_INVALID for a pointer of Git LFS.
  absl::StatusOr<std::string> ReadAll(const std::string& name, int64_t max_bytes = kMaxSmallFileBytes);

 protected:
  // INVALID_ARGUMENT for a relative path that could leave the directory, or that is not written plainly.
  static absl::Status CheckFileName(absl::string_view name);
  static absl::Status FileNotFound(absl::string_view name);
};

}  // namespace quantmoe
