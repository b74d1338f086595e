#include "quant/model/norm.h"

#include <ATen/ATen.h>

namespace quantmoe {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, bool multiply_in_f32) {
  at::Tensor wide = x.to(at::kFloat);
  wide = wide * at::rsqrt(wide.pow(2).mean(-1, /*keepdim=*/true) + eps);
  if (multiply_in_f32) return (wide * weight.to(at::kFloat)).to(x.scalar_type());
  return wide.to(x.scalar_type()).mul_(weight);
}

at::Tensor ModelNorm(const ModelSpec& spec, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias) {
  if (spec.norm == NormKind::kRms) return RmsNorm(x, weight, spec.norm_eps, spec.norm_multiply_in_f32);
  return at::layer_norm(x, {x.size(-1)}, weight,
                        bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, spec.norm_eps);
}

}  // namespace quantmoe
