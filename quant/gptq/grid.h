// The grid of a group of weights: symmetric, one f16 scale, codes 0 .. 2^bits - 1 with zero point 2^(bits-1).
// Scales are rounded to f16 before codes are fitted, so the file holds what was optimised.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/gptq/grid_options.h"

namespace quantmoe {

// Fits all groups of a weight matrix.
//   weights    [in, out] f32 row-major: the transposed weight matrix
//   importance [in]: weight of each input channel in the error (the Hessian's diagonal); null means 1
//   scales     [in / group_size, out] f32 out: values that f16 holds exactly, never 0, negative only where
//              AllowsNegative
// Several threads share the work; the result does not depend on how many.
void FitGrid(const float* weights, const float* importance, int64_t in, int64_t out,
             const GridOptions& options, float* scales);

}  // namespace quantmoe
