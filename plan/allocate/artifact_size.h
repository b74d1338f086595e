// The tensors of a quantized linear and the exact size of the finished weight files. The writer in
// quant/artifact uses the same layout, so a prediction equals the file's size to the byte.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plan/model/linears.h"
#include "storage/safetensors.h"

namespace quantmoe {

// qweight I32 [in*width/32, out], qzeros I32 [groups, out*width/32], scales F16 [groups, out], g_idx I32
// [in], of a GPTQ v1 checkpoint; `begin`/`end` are not filled in.
std::vector<TensorInfo> PackedTensors(const Linear& linear, int width, int group_size);

// One weight file of an artifact: the tensors go into files of at most kMaxWeightFileBytes of data, in the
// order of the source (layer by layer), never splitting a linear.
inline constexpr int64_t kMaxWeightFileBytes = int64_t{4} << 30;
struct WeightFile {
  std::string name;  // model.safetensors, or model-00001-of-0000N.safetensors
  SafetensorsLayout layout;
};
// The tensors that hold a linear's weight. The same input gives the same files everywhere.
using StoredTensors = std::function<std::vector<TensorInfo>(const Linear&)>;
std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const StoredTensors& tensors_of);
// The same for PackedTensors; `width_of` gives the width of each linear.
std::vector<WeightFile> LayOutWeightFiles(const std::vector<Linear>& linears,
                                          const std::vector<TensorInfo>& kept,
                                          const std::function<int(const Linear&)>& width_of, int group_size);
// The text of model.safetensors.index.json; empty when there is only one file.
std::string WeightIndexJson(const std::vector<WeightFile>& files);
// Sum of the file sizes, index file included when there is more than one.
int64_t WeightFileBytes(const std::vector<WeightFile>& files);

}  // namespace quantmoe
