// H = V V^T with V upper triangular: the only factorisation that a GPTQ solve needs.
//
// GPTQ (arXiv 2210.17323, algorithm 1) uses the upper Cholesky factor U of H^-1 and pushes the error of each
// column onto the later ones. Eliminating U gives the same compensated columns from V alone, without an
// inverse:
//   c_i = w_i + sum over k < i of (w_k - q_k) V[k,i] / V[i,i].
// So in^3/3 flops do instead of 4/3 in^3.
#pragma once

#include <ATen/core/Tensor.h>

namespace quantmoe {

// Replaces the upper triangle of the symmetric positive definite `matrix` [n, n], f32 contiguous, by V. The
// part below the diagonal is neither read nor defined afterwards. False when it is not positive definite; the
// content is then undefined. Blocked over GEMMs, diagonal blocks in f64 on one thread: the same bytes for any
// number of threads, which LAPACK does not give.
bool FactorUpper(at::Tensor& matrix);

}  // namespace quantmoe
