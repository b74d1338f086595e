// A model directory in memory.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "sources/model_directory.h"

namespace quantmoe {

class MemoryModel : public ModelDirectory {
 public:
  explicit MemoryModel(std::map<std::string, std::string> files) : files_(std::move(files)) {}

  const ModelUri& uri() const override { return uri_; }
  absl::StatusOr<std::vector<ModelFile>> List() override {
    std::vector<ModelFile> files;
    for (const auto& [name, bytes] : files_) files.push_back({name, static_cast<int64_t>(bytes.size()), "1"});
    return files;
  }
  absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) override {
    return FileNotFound(folder);
  }
  absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) override {
    const auto file = files_.find(name);
    if (file == files_.end()) return FileNotFound(name);
    const auto size = static_cast<int64_t>(file->second.size());
    if (offset < 0 || length < 0 || offset > size || length > size - offset)
      return absl::OutOfRangeError(name);
    return MappedFile::FromString(
        file->second.substr(static_cast<size_t>(offset), static_cast<size_t>(length)));
  }

 private:
  const ModelUri uri_{ModelUri::Scheme::kFile, "/model"};
  const std::map<std::string, std::string> files_;
};

}  // namespace quantmoe
