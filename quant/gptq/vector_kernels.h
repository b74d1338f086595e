// The loops that are written with explicit vectors, behind one table for each instruction set.
#pragma once

#include "quant/gptq/column_block.h"
#include "quant/gptq/grid.h"
#include "quant/instruction_set.h"

namespace quantmoe {

// Output columns whose grids are fitted together.
constexpr int kFitOutputs = 2 * kVectorLanes;

// Pointers are aligned for their elements and no more.
struct VectorKernels {
  // Scales [kFitOutputs] of one group: `w` [group_size, kFitOutputs], `h` [group_size] (grid.h).
  void (*fit_run)(const float* w, const float* h, const GridOptions& options, float* scales);
  // column_block.h
  ColumnErrors (*solve_columns)(const BlockTriangle& triangle, const ColumnRun& run);
};

// Those compiled for a set; they may run only where the machine has it.
const VectorKernels& KernelsOf(InstructionSet set);

// Those of BestInstructionSet().
const VectorKernels& Kernels();

}  // namespace quantmoe
