// GPTQ as the paper writes it (arXiv 2210.17323, algorithm 1), in f64 and without blocks: inverse, its upper
// Cholesky factor, one column after the other. Slow and plain; the fast solver is held against it.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace quantmoe {

// weight [out, in], hessian [in, in], scales [in / group_size, out] of the symmetric grid; `order` [in] i64
// is the order of the columns. Returns the quantized weight [out, in] f64.
at::Tensor ReferenceGptq(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& scales,
                         int bits, int group_size, double damp, const at::Tensor& order);

}  // namespace quantmoe
