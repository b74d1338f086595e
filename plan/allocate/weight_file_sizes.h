// The size of the weight files of many plans of one model. What the widths do not change is laid out once; a
// plan then costs one sum over the tensors, and no text is made. Equal to WeightFileBytes of the laid out
// files to the byte.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "plan/model/linears.h"
#include "storage/safetensors.h"

namespace quantmoe {

class WeightFileSizes {
 public:
  WeightFileSizes() = default;  // of nothing
  WeightFileSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept, int group_size);
  // `widths` of each linear, in the constructor's order.
  int64_t Bytes(const std::vector<int>& widths) const;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  // What stays in one file.
  struct Unit {
    int64_t kept_bytes = 0;
    size_t linear = kNone;  // whose packed tensors are in it
  };
  // A tensor as the header of its file and the index count it.
  struct Tensor {
    size_t unit = 0;
    size_t part = kNone;      // which of PackedTensors; kNone: it is kept
    int64_t data_bytes = 0;   // of a kept tensor; of a packed one the widths decide
    int64_t entry_bytes = 0;  // in the header; of a packed one without its shape
    int64_t index_bytes = 0;  // in the index, but for the name of the file
  };
  // What shape and width of a linear decide about one of its packed tensors.
  struct PackedSize {
    int64_t data_bytes = 0;
    int64_t shape_bytes = 0;  // of the text
  };
  using PackedSizes = std::vector<PackedSize>;

  Tensor Count(const TensorInfo& info, size_t part) const;
  PackedSizes SizePacked(const Linear& linear, int width) const;
  // The file of each unit.
  std::vector<size_t> AssignFiles(const std::vector<const PackedSizes*>& packed) const;

  std::vector<Linear> linears_;
  int group_size_ = 0;
  std::vector<Unit> units_;      // in the order in which they fill the files
  std::vector<Tensor> tensors_;  // in the order in which a file stores them
};

}  // namespace quantmoe
