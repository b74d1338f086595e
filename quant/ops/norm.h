// Normalisation of the residual stream and of queries and keys.
#pragma once

#include <ATen/core/Tensor.h>

#include "plan/model/model_spec.h"

namespace quantmoe {

// x [..., width] * rsqrt(mean(x^2) + eps) over the last axis in f32, cast back to the dtype of x, times
// `weight` [width]. With `multiply_in_f32` the product is taken before the cast, as GPT-OSS does.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, bool multiply_in_f32 = false);

// The same of x [..., width] without a weight.
at::Tensor UnitNorm(const at::Tensor& x, double eps);

// The norm of a layer or of the end of the model, as the spec says: x [..., hidden], whose shape and dtype
// the result has, `weight` and `bias` [hidden]. `bias` may be undefined.
at::Tensor ModelNorm(const ModelSpec& spec, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias);

}  // namespace quantmoe
