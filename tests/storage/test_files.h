// A temporary folder, and safetensors files for tests.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

#include "storage/safetensors.h"

namespace quantmoe {

class TempDir {
 public:
  TempDir() {
    std::string pattern = std::filesystem::temp_directory_path() / "quantmoe-XXXXXX";
    path_ = std::filesystem::canonical(::mkdtemp(pattern.data()));
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void WriteTestFile(const std::string& path, absl::string_view bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A file with this header text, unpadded, and `data_bytes` zero bytes.
inline std::string RawSafetensors(const std::string& json, size_t data_bytes) {
  std::string file;
  for (int shift = 0; shift < 64; shift += 8) file.push_back(static_cast<char>(json.size() >> shift & 0xff));
  return file + json + std::string(data_bytes, '\0');
}

// A file of F32 tensors with one element each, whose four bytes are `fill`.
inline std::string SmallSafetensors(const std::vector<std::string>& names, char fill = 1) {
  std::vector<TensorInfo> tensors;
  for (const std::string& name : names) tensors.push_back({name, DType::kF32, {1}, 0, 0});
  const SafetensorsLayout layout = LayOutSafetensors(std::move(tensors), {{"format", "pt"}});
  return layout.header + std::string(static_cast<size_t>(layout.file_size()) - layout.header.size(), fill);
}

}  // namespace quantmoe
