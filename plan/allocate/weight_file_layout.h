// Which tensors of an artifact go into which weight file: the rules behind LayOutWeightFiles, for those who
// only count.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "plan/model/linears.h"
#include "storage/safetensors.h"

namespace quantmoe {

// Tensors that stay in one file.
struct StorageUnit {
  int layer = -1;                   // -1: belongs to no layer
  std::vector<TensorInfo> tensors;  // of a linear: those that hold its weight, then its bias
  const Linear* linear = nullptr;   // null: a kept tensor alone
};

// In the order in which they fill the files: tensors outside of layers first, then layer by layer the kept
// ones by name and the linears in their order. Points into `linears`.
std::vector<StorageUnit> MakeStorageUnits(
    const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
    const std::function<std::vector<TensorInfo>(const Linear&)>& tensors_of);

// Says which file takes the next unit, when none may have more than `max_bytes` of data but a larger unit's.
class FileFiller {
 public:
  explicit FileFiller(int64_t max_bytes) : max_bytes_(max_bytes) {}
  size_t Place(int64_t unit_bytes);

 private:
  const int64_t max_bytes_;
  size_t file_ = 0;
  int64_t filled_ = 0;
};

std::string WeightFileName(size_t index, size_t count);
std::map<std::string, std::string> WeightFileMetadata();  // of every header

}  // namespace quantmoe
