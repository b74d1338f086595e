#include "quant/gptq/round_to_nearest.h"

#include <ATen/ATen.h>

namespace quantmoe {

QuantizedLinear RoundToNearest(const at::Tensor& weight, const GridOptions& grid) {
  const at::Tensor transposed = weight.t().contiguous();
  const int64_t in = transposed.size(0), out = transposed.size(1), groups = in / grid.group_size;
  at::Tensor scales = at::empty({groups, out}, at::kFloat);
  FitGrid(transposed.const_data_ptr<float>(), /*importance=*/nullptr, in, out, grid,
          scales.data_ptr<float>());
  const double half = 1 << (grid.bits - 1);
  const at::Tensor inverse = scales.reciprocal().unsqueeze(1);
  const at::Tensor codes =
      (transposed.view({groups, grid.group_size, out}) * inverse).round_().clamp_(-half, half - 1);
  return {codes.add_(half).to(at::kByte).view({in, out}), scales.to(at::kHalf), 0};
}

double Distortion(const at::Tensor& error, const at::Tensor& hessian) {
  // Row by row first: a sum to one number is split over threads, and their number would show in the last bit.
  return at::mm(error, hessian).mul_(error).sum(1, /*keepdim=*/false, at::kDouble).sum().item<double>();
}

}  // namespace quantmoe
