// A block of columns of a solve. What columns before the block contribute comes as a product (GEMM); the
// triangle inside the block is left, for which columns are taken one after the other (vector_kernels.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/gptq/simd.h"

namespace quantmoe {

constexpr int kBlockColumns = 128;             // at most so many columns in a block
constexpr int kPanelColumns = 8;               // columns of it whose sums stay in registers
constexpr int kRunOutputs = 2 * kVectorLanes;  // outputs that are solved together
static_assert(kBlockColumns % kPanelColumns == 0);

// The triangle of V of one block, packed for the loop, and facts of its columns; shared by all runs.
class BlockTriangle {
 public:
  // `upper` points at V[begin, begin], row stride `stride`; `added` at what the factored diagonal has more
  // than the Hessian's, [size].
  void Pack(const float* upper, int64_t stride, const double* added, int size);

  int size() const { return size_; }
  // V[k, i] / V[i, i] for the eight columns from i on: row k holds eight values, zero where k >= i.
  const float* Panel(int i) const { return packed_.data() + static_cast<ptrdiff_t>(i) * kBlockColumns; }
  const float* inverse_pivots() const { return inverse_pivots_.data(); }
  const float* pivots() const { return pivots_.data(); }
  const float* added() const { return added_.data(); }

 private:
  int size_ = 0;
  std::vector<float> packed_, pivots_, inverse_pivots_, added_;
};

}  // namespace quantmoe
