#include "quant/ops/norm.h"

#include <ATen/ATen.h>

namespace quantmoe {

namespace {

// Rows of mean square 1, in f32.
at::Tensor WideUnitRows(const at::Tensor& x, double eps) {
  const at::Tensor original = x.to(at::kFloat);
  // The length is one pass over x; a square and its mean would be two, with a tensor between.
  const at::Tensor length = at::linalg_vector_norm(original, 2, at::IntArrayRef{-1}, /*keepdim=*/true);
  return original * at::rsqrt(length.pow(2) / static_cast<double>(x.size(-1)) + eps);
}

}  // namespace

at::Tensor UnitNorm(const at::Tensor& x, double eps) { return WideUnitRows(x, eps).to(x.scalar_type()); }

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, bool multiply_in_f32) {
  at::Tensor wide = WideUnitRows(x, eps);
  if (multiply_in_f32) return wide.mul_(weight.to(at::kFloat)).to(x.scalar_type());
  return wide.to(x.scalar_type()).mul_(weight);
}

at::Tensor ModelNorm(const ModelSpec& spec, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias) {
  if (spec.norm == NormKind::kRms) return RmsNorm(x, weight, spec.norm_eps, spec.norm_multiply_in_f32);
  return at::layer_norm(x, {x.size(-1)}, weight,
                        bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, spec.norm_eps);
}

}  // namespace quantmoe
