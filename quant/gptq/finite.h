// Whether a matrix holds NaN or infinite values, in one pass at the speed of memory.
#pragma once

#include <ATen/core/Tensor.h>

namespace quantmoe {

// `matrix` of any shape, f32, contiguous on the CPU.
bool AllFinite(const at::Tensor& matrix);

}  // namespace quantmoe
