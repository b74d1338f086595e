#include "plan/allocate/artifact_size.h"

#include <algorithm>
#include <string>

#include "nlohmann/json.hpp"
#include "plan/allocate/weight_file_layout.h"
#include "storage/weight_format.h"

namespace quantmoe {
namespace {

int64_t DataBytes(const std::vector<TensorInfo>& tensors) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) bytes += tensor.data_bytes();
  return bytes;
}

std::vector<std::vector<TensorInfo>> FillFiles(std::vector<StorageUnit> units) {
  std::vector<std::vector<TensorInfo>> files(1);
  FileFiller filler(kMaxWeightFileBytes);
  for (StorageUnit& unit : units) {
    const size_t file = filler.Place(DataBytes(unit.tensors));
    if (file == files.size()) files.emplace_back();
    std::move(unit.tensors.begin(), unit.tensors.end(), std::back_inserter(files.back()));
  }
  return files;
}

}  // namespace

std::vector<TensorInfo> PackedTensors(const Linear& linear, int width, int group_size) {
  return TensorsOf(GptqFormat(), {linear.name, linear.out, linear.in, width, group_size});
}

std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const StoredTensors& tensors_of) {
  std::vector<std::vector<TensorInfo>> contents = FillFiles(MakeStorageUnits(linears, kept, tensors_of));
  std::vector<WeightFile> files;
  for (size_t i = 0; i < contents.size(); ++i) {
    files.push_back({WeightFileName(i, contents.size()),
                     LayOutSafetensors(std::move(contents[i]), WeightFileMetadata())});
  }
  return files;
}

std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const std::function<int(const Linear&)>& width_of, int group_size) {
  return LayOutWeightFiles(linears, kept,
                           [&](const Linear& l) { return PackedTensors(l, width_of(l), group_size); });
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
