#include "quant/gptq/correction.h"

#include <ATen/ATen.h>

namespace quantmoe {

at::Tensor CorrectedWeight(const at::Tensor& weight, const at::Tensor& cross, const SolveFactor& factor,
                           double strength) {
  if (!factor.fallback.empty() || strength == 0) return weight;
  // H' = V V^T in processing order.
  const at::Tensor drift = at::mm(weight, cross).index_select(1, factor.order);
  const at::Tensor half =
      at::linalg_solve_triangular(factor.upper.t(), drift, /*upper=*/false, /*left=*/false);
  const at::Tensor change = at::linalg_solve_triangular(factor.upper, half, /*upper=*/true, /*left=*/false);
  at::Tensor corrected = weight.clone();
  corrected.index_add_(1, factor.order, change, strength);
  return corrected;
}

}  // namespace quantmoe
