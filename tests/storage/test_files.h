// Safetensors files for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

#include "storage/safetensors.h"

namespace quantmoe {

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
