#include "quant/gptq/hessian.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// Rows of one tile: wide enough for full GEMM speed, narrow enough that little of the redundant half is
// computed.
constexpr int64_t kTile = 512;

}  // namespace

Hessian::Hessian(int64_t in, c10::Device device)
    : sum_(at::zeros({in, in}, at::TensorOptions(device).dtype(at::kFloat))) {}

void Hessian::Add(const at::Tensor& x) {
  TORCH_CHECK_VALUE(x.dim() == 2 && x.size(1) == sum_.size(0), "Hessian input ", x.sizes(), " for width ",
                    sum_.size(0));
  if (x.size(0) == 0) return;
  const int64_t in = sum_.size(0);
  for (int64_t begin = 0; begin < in; begin += kTile) {
    const int64_t end = std::min(begin + kTile, in);
    at::Tensor tile = sum_.slice(0, begin, end).slice(1, 0, end);
    tile.addmm_(x.slice(1, begin, end).t(), x.slice(1, 0, end));
  }
  tokens_ += x.size(0);
}

at::Tensor Hessian::Take() {
  if (whole_) return std::move(sum_);
  const int64_t in = sum_.size(0);
  for (int64_t begin = 0; begin < in; begin += kTile) {
    const int64_t end = std::min(begin + kTile, in);
    at::Tensor diagonal = sum_.slice(0, begin, end).slice(1, begin, end);
    diagonal.copy_(diagonal.tril() + diagonal.tril(-1).t());
    if (end < in)
      sum_.slice(0, begin, end).slice(1, end, in).copy_(sum_.slice(0, end, in).slice(1, begin, end).t());
  }
  return std::move(sum_);
}

}  // namespace quantmoe
