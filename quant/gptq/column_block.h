// The innermost loop of a solve: a block of columns, one after the other, for a run of outputs in registers.
// What columns before the block contribute comes as a product (GEMM); here only the triangle inside the block
// is left.
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

// kRunOutputs outputs of one width. Rows have any alignment.
struct ColumnRun {
  const float* product;         // [size, stride]: sum over the columns k before the block of V[k, i] d_k
  float* difference;            // [size, stride] out: d = weight - quantized
  int64_t stride;               // of `product` and `difference`
  const float* const* weights;  // per column
  const float* const* scales;   // per column: of its group
  uint8_t* const* codes;        // per column, out
  int64_t offset;               // of the run in the rows of weights, scales and codes
  int bits;
};

// What a run of columns adds to the distortion.
struct ColumnErrors {
  double damped = 0;  // sum ((c - q) V[i,i])^2 = tr(D (H + diag(added)) D^T)
  double added = 0;   // tr(D diag(added) D^T)
};

// Column after column: c = w + (product + sum over k of d_k V[k,i]) / V[i,i]; q = round(c); d = w - q.
ColumnErrors SolveColumns(const BlockTriangle& triangle, const ColumnRun& run);

}  // namespace quantmoe
