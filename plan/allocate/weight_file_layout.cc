#include "plan/allocate/weight_file_layout.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quantmoe {

std::vector<StorageUnit> MakeStorageUnits(
    const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
    const std::function<std::vector<TensorInfo>(const Linear&)>& tensors_of) {
  std::map<std::string, StorageUnit*, std::less<>> biases;
  std::vector<StorageUnit> quantized;
  quantized.reserve(linears.size());
  for (const Linear& linear : linears) {
    quantized.push_back({linear.layer, tensors_of(linear), &linear});
    if (linear.bias) biases[linear.name + ".bias"] = &quantized.back();
  }
  std::vector<TensorInfo> sorted = kept;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<StorageUnit> units;
  for (TensorInfo& tensor : sorted) {
    const auto bias = biases.find(tensor.name);
    if (bias != biases.end()) {
      bias->second->tensors.push_back(std::move(tensor));
    } else {
      const int layer = LayerOfTensor(tensor.name);
      units.push_back({layer, {std::move(tensor)}, nullptr});
    }
  }
  std::move(quantized.begin(), quantized.end(), std::back_inserter(units));
  std::stable_sort(units.begin(), units.end(),
                   [](const StorageUnit& a, const StorageUnit& b) { return a.layer < b.layer; });
  return units;
}

size_t FileFiller::Place(int64_t unit_bytes) {
  if (filled_ > 0 && filled_ + unit_bytes > max_bytes_) {
    ++file_;
    filled_ = 0;
  }
  filled_ += unit_bytes;
  return file_;
}

std::string WeightFileName(size_t index, size_t count) {
  return count == 1 ? "model.safetensors"
                    : absl::StrFormat("model-%05d-of-%05d.safetensors", index + 1, count);
}

std::map<std::string, std::string> WeightFileMetadata() { return {{"format", "pt"}}; }

}  // namespace quantmoe
