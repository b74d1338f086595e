// The tensors of a model directory: model.safetensors, or the files that model.safetensors.index.json names,
// which may lie in folders of it. Opening reads headers only, in two ranged reads a file. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "sources/model_directory.h"
#include "storage/safetensors.h"

namespace quantmoe {

class Checkpoint {
 public:
  // INVALID_ARGUMENT MODEL_INVALID names file and tensor; NOT_FOUND MODEL_NOT_FOUND when there are no
  // weights.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(std::shared_ptr<ModelDirectory> directory);

  // What a checkpoint lacks that opens all the same.
  struct Damage {
    std::vector<std::string> problems;
    std::set<std::string, std::less<>> lost;  // tensors that the index places in files that cannot be used
    bool unlisted = false;  // a file that no index describes is damaged: which tensors are lost is unknown
  };
  // Goes on past weight files that are missing or damaged, and past tensors that they lack, to tell all of
  // it. For people who look: what is opened so may not be computed with.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenDamaged(std::shared_ptr<ModelDirectory> directory,
                                                                 Damage& damage);

  struct Location {
    std::string file;
    int64_t data_offset = 0;  // of the file's data section; the tensor starts at data_offset + info.begin
    TensorInfo info;
  };
  const std::map<std::string, Location, std::less<>>& tensors() const { return tensors_; }
  const Location* Find(absl::string_view name) const;  // null when absent

  // The bytes of one tensor; INVALID_ARGUMENT MODEL_INVALID "tensor NAME is missing" when absent.
  absl::StatusOr<MappedFile> Read(absl::string_view name) const;
  // Says which tensors will be read soon; names that are absent are left out.
  absl::Status Prefetch(const std::vector<std::string>& names) const;
  // `length` bytes from `offset` within one tensor; the range must lie inside.
  absl::StatusOr<MappedFile> ReadRange(absl::string_view name, int64_t offset, int64_t length) const;
  ModelDirectory& directory() const { return *directory_; }
  // The file that says which tensors there are: the index, or the only weight file.
  const std::string& listing_file() const { return listing_file_; }
  int64_t total_bytes() const { return total_bytes_; }

  // Identifies the content for caching: config.json, the index, and name, size, version and header of every
  // weight file.
  const std::string& fingerprint() const { return fingerprint_; }
  // Identifies the content for publication: the same without versions, equal on every copy.
  const std::string& header_digest() const { return header_digest_; }

 private:
  struct Opening;

  Checkpoint() = default;
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenAll(std::shared_ptr<ModelDirectory> directory,
                                                             Damage* damage);
  absl::Status AddFile(Opening& opening, const std::string& name,
                       const std::optional<std::vector<std::string>>& wanted);

  std::shared_ptr<ModelDirectory> directory_;
  std::map<std::string, Location, std::less<>> tensors_;
  int64_t total_bytes_ = 0;
  std::string listing_file_;
  std::string fingerprint_;
  std::string header_digest_;
};

}  // namespace quantmoe
