#include "tests/quant/gptq/reference_gptq.h"

#include <ATen/ATen.h>

namespace quantmoe {

at::Tensor ReferenceGptq(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& scales,
                         int bits, int group_size, double damp, const at::Tensor& index) {
  at::Tensor w = weight.to(at::kDouble).index_select(1, index).clone();
  at::Tensor h = hessian.to(at::kDouble).index_select(0, index).index_select(1, index).clone();
  h.diagonal().add_(damp * h.diagonal().mean());
  const at::Tensor upper = at::linalg_cholesky(at::linalg_inv(h)).t();
  const double half = 1 << (bits - 1);
  at::Tensor q = at::empty_like(w);
  for (int64_t j = 0; j < w.size(1); ++j) {
    const at::Tensor scale = scales[index[j].item<int64_t>() / group_size].to(at::kDouble);
    const at::Tensor column = w.select(1, j);
    const at::Tensor quantized = (column / scale).round().clamp(-half, half - 1) * scale;
    q.select(1, j).copy_(quantized);
    const at::Tensor error = (column - quantized) / upper[j][j];
    w.slice(1, j, w.size(1)).sub_(at::outer(error, upper[j].slice(0, j, w.size(1))));
  }
  at::Tensor restored = at::empty_like(q);
  restored.index_copy_(1, index, q);
  return restored;
}

}  // namespace quantmoe
