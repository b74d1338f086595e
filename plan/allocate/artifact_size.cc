#include "plan/allocate/artifact_size.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "nlohmann/json.hpp"
#include "storage/weight_format.h"

namespace quantmoe {
namespace {

// Tensors that stay in one file.
struct Unit {
  int layer = -1;  // -1: belongs to no layer
  std::vector<TensorInfo> tensors;
};

int64_t DataBytes(const std::vector<TensorInfo>& tensors) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) bytes += tensor.data_bytes();
  return bytes;
}

// Tensors outside of layers first, then layer by layer the kept ones by name and the linears in their order.
std::vector<Unit> MakeUnits(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                            const StoredTensors& tensors_of) {
  std::map<std::string, Unit*, std::less<>> biases;
  std::vector<Unit> quantized;
  quantized.reserve(linears.size());
  for (const Linear& linear : linears) {
    quantized.push_back({linear.layer, tensors_of(linear)});
    if (linear.bias) biases[linear.name + ".bias"] = &quantized.back();
  }
  std::vector<TensorInfo> sorted = kept;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<Unit> units;
  for (TensorInfo& tensor : sorted) {
    const auto bias = biases.find(tensor.name);
    if (bias != biases.end()) {
      bias->second->tensors.push_back(std::move(tensor));
    } else {
      units.push_back({LayerOfTensor(tensor.name), {std::move(tensor)}});
    }
  }
  std::move(quantized.begin(), quantized.end(), std::back_inserter(units));
  std::stable_sort(units.begin(), units.end(),
                   [](const Unit& a, const Unit& b) { return a.layer < b.layer; });
  return units;
}

std::vector<std::vector<TensorInfo>> FillFiles(std::vector<Unit> units) {
  std::vector<std::vector<TensorInfo>> files(1);
  int64_t filled = 0;
  for (Unit& unit : units) {
    const int64_t bytes = DataBytes(unit.tensors);
    if (filled > 0 && filled + bytes > kMaxWeightFileBytes) {
      files.emplace_back();
      filled = 0;
    }
    filled += bytes;
    std::move(unit.tensors.begin(), unit.tensors.end(), std::back_inserter(files.back()));
  }
  return files;
}

std::string FileName(size_t index, size_t count) {
  return count == 1 ? "model.safetensors"
                    : absl::StrFormat("model-%05d-of-%05d.safetensors", index + 1, count);
}

}  // namespace

std::vector<TensorInfo> PackedTensors(const Linear& linear, int bits, int group_size) {
  return TensorsOf(GptqFormat(), {linear.name, linear.out, linear.in, bits, group_size});
}

std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const StoredTensors& tensors_of) {
  std::vector<std::vector<TensorInfo>> contents = FillFiles(MakeUnits(linears, kept, tensors_of));
  std::vector<WeightFile> files;
  for (size_t i = 0; i < contents.size(); ++i) {
    files.push_back(
        {FileName(i, contents.size()), LayOutSafetensors(std::move(contents[i]), {{"format", "pt"}})});
  }
  return files;
}

std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const std::function<int(const Linear&)>& bits_of, int group_size) {
  return LayOutWeightFiles(linears, kept,
                           [&](const Linear& l) { return PackedTensors(l, bits_of(l), group_size); });
}

std::string WeightIndexJson(const std::vector<WeightFile>& files) {
  if (files.size() < 2) return "";
  nlohmann::json weight_map = nlohmann::json::object();
  int64_t total = 0;
  for (const WeightFile& file : files) {
    for (const TensorInfo& tensor : file.layout.tensors) weight_map[tensor.name] = file.name;
    total += DataBytes(file.layout.tensors);
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(weight_map)}};
  return index.dump(2) + "\n";
}

int64_t WeightFileBytes(const std::vector<WeightFile>& files) {
  int64_t bytes = static_cast<int64_t>(WeightIndexJson(files).size());
  for (const WeightFile& file : files) bytes += file.layout.file_size();
  return bytes;
}

}  // namespace quantmoe
