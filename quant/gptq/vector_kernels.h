// The loops that are compiled for each instruction set, behind one table for each.
#pragma once

#include <cstdint>

#include "quant/device/instruction_set.h"
#include "quant/gptq/block_triangle.h"
#include "quant/gptq/grid_options.h"

namespace quantmoe {

// Output columns whose grids are fitted together.
constexpr int kFitOutputs = 2 * kVectorLanes;
// Columns of the Cholesky factor that are factored together, and the length of their rows.
constexpr int kTriangle = 128;

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

// Pointers are aligned for their elements and no more.
struct VectorKernels {
  // Scales [kFitOutputs] of one group: `w` [group_size, kFitOutputs], `h` [group_size] (grid.h).
  void (*fit_run)(const float* w, const float* h, const GridOptions& options, float* scales);
  // Column after column: c = w + (product + sum over k of d_k V[k,i]) / V[i,i]; q = round(c); d = w - q.
  ColumnErrors (*solve_columns)(const BlockTriangle& triangle, const ColumnRun& run);
  // to[i] = from[index[i]]
  void (*gather)(const float* from, const int32_t* index, int64_t count, float* to);
  // No value is NaN or infinite.
  bool (*row_is_finite)(const float* values, int64_t count);
  // `l` [n, kTriangle], n <= kTriangle, holds the lower triangle of a symmetric matrix and zeros above:
  // replaces it by V^T, where A = V V^T. False when A is not positive definite.
  bool (*factor_transposed)(double* l, int n);
  // `x`, zeros before, becomes the inverse of the lower triangle `l`; both as above.
  void (*invert_transposed)(const double* l, int n, double* x);
};

// Those compiled for a set; they may run only where the machine has it.
const VectorKernels& KernelsOf(InstructionSet set);

// Those of CurrentInstructionSet().
const VectorKernels& Kernels();

}  // namespace quantmoe
