// What one GPU thread does in a block of columns: one output at one width. The arithmetic is that of
// quant/gptq/column_kernel.inc, operation by operation.
#pragma once

#include "quant/gptq/cuda/exact_math.h"
#include "quant/gptq/cuda/kernels.h"

namespace quantmoe::kernel {

constexpr int kBlockColumns = QUANTMOE_BLOCK_COLUMNS;
constexpr int kPanelColumns = 16;  // columns whose sums are in registers
constexpr int kPanels = kBlockColumns / kPanelColumns;

// Values that are read from shared memory at once.
struct alignas(16) Four {
  float v[4];
};

// The triangle of V of one block and facts of its columns; in shared memory, read by all threads of a thread
// block at the same place at the same time.
struct BlockTriangle {
  // V[k, i] / V[i, i] by panels of columns i; row k of a panel holds kPanelColumns values.
  Four panels[kPanelColumns * kPanelColumns * kPanels * (kPanels + 1) / 2 / 4];
  float pivots[kBlockColumns], inverse_pivots[kBlockColumns], added[kBlockColumns];
  int32_t channels[kBlockColumns], groups[kBlockColumns];
};
static_assert(sizeof(BlockTriangle) <= size_t{48} * 1024, "must fit in the shared memory that every GPU has");

// Where panel number `panel` starts, in Fours: panel p has kPanelColumns * (p + 1) rows.
QUANTMOE_KERNEL int PanelStart(int panel) {
  return kPanelColumns * kPanelColumns / 4 * panel * (panel + 1) / 2;
}

// Thread `thread` of `threads` that fill the triangle of one matrix together.
QUANTMOE_KERNEL void LoadTriangle(const QuantmoeSolveBlock& block, int64_t matrix, int thread, int threads,
                                  BlockTriangle& triangle) {
  const float* upper = block.upper + (matrix * block.in + block.begin) * block.in + block.begin;
  for (int i = thread; i < block.size; i += threads) {
    const float pivot = upper[i * block.in + i];
    triangle.pivots[i] = pivot;
    triangle.inverse_pivots[i] = 1.0f / pivot;
    triangle.added[i] = block.added[matrix * block.in + block.begin + i];
    triangle.channels[i] = block.order[matrix * block.in + block.begin + i];
    triangle.groups[i] = triangle.channels[i] / block.group_size;
  }
  for (int at = thread; at < kBlockColumns * kBlockColumns; at += threads) {
    const int k = at / kBlockColumns, i = at % kBlockColumns, panel = i / kPanelColumns;
    if (k >= (panel + 1) * kPanelColumns) continue;
    const bool inside = k < i && i < block.size;
    triangle.panels[PanelStart(panel) + (k * kPanelColumns + i % kPanelColumns) / 4].v[i % 4] =
        inside ? upper[k * block.in + i] / upper[i * block.in + i] : 0.0f;
  }
}

// sums += row * d for the columns of a panel from the one after `after` on.
QUANTMOE_KERNEL void AddRow(const Four* row, float d, int after, float* sums) {
  QUANTMOE_UNROLL(unroll)
  for (int quarter = 0; quarter < kPanelColumns / 4; ++quarter) {
    if (4 * quarter + 3 <= after) continue;
    const Four values = row[quarter];
    QUANTMOE_UNROLL(unroll)
    for (int j = 0; j < 4; ++j) {
      const int column = 4 * quarter + j;
      if (column > after) sums[column] = MultiplyAdd(values.v[j], d, sums[column]);
    }
  }
}

// Column n of matrix `matrix`.
QUANTMOE_KERNEL void SolveColumns(const QuantmoeSolveBlock& block, int64_t matrix, int64_t n,
                                  const BlockTriangle& triangle) {
  const int64_t columns = block.widths * block.out, width = n / block.out, output = n % block.out;
  const int64_t slice = matrix * block.widths + width;
  const float* __restrict__ weights = block.weights + matrix * block.in * block.out + output;
  const float* __restrict__ scales =
      block.scales + slice * (block.in / block.group_size) * block.out + output;
  const float* __restrict__ product = block.product + matrix * block.product_stride + n;
  uint8_t* __restrict__ codes = block.codes + slice * block.in * block.out + output;
  float* difference = block.difference + (matrix * block.in + block.begin) * columns + n;
  const float low = -static_cast<float>(1 << (block.bits[width] - 1));
  float damped = 0.0f, added = 0.0f;
  for (int first = 0; first < block.size; first += kPanelColumns) {
    const Four* panel = triangle.panels + PanelStart(first / kPanelColumns);
    float sums[kPanelColumns] = {};
    QUANTMOE_UNROLL(unroll 4)
    for (int k = 0; k < first; ++k) {
      AddRow(panel + k * kPanelColumns / 4, difference[k * columns], /*after=*/-1, sums);
    }
    QUANTMOE_UNROLL(unroll)
    for (int j = 0; j < kPanelColumns; ++j) {
      const int i = first + j;
      if (i < block.size) {
        const int64_t channel = triangle.channels[i];
        const float w = weights[channel * block.out], s = scales[triangle.groups[i] * block.out];
        const float c = w + MultiplyAdd(product[i * columns], triangle.inverse_pivots[i], sums[j]);
        const float q = NearestCode(c, InverseScale(s), low);
        const float d = MultiplyAdd(-q, s, w);
        codes[channel * block.out] = static_cast<uint8_t>(static_cast<int>(q - low));
        difference[i * columns] = d;
        const float e = MultiplyAdd(-q, s, c) * triangle.pivots[i];
        damped = MultiplyAdd(e, e, damped);
        added = MultiplyAdd(triangle.added[i] * d, d, added);
        AddRow(panel + i * kPanelColumns / 4, d, /*after=*/j, sums);
      }
    }
  }
  block.distortion[matrix * columns + n] += static_cast<double>(damped) - static_cast<double>(added);
}

}  // namespace quantmoe::kernel
