// Causal attention in which a learned logit per head takes part in the softmax and gives nothing (GPT-OSS).
// Not in the fused kernels; this one works query block by query block, so that memory does not grow with
// length^2.
#pragma once

#include <ATen/core/Tensor.h>

namespace quantmoe {

// q, k, v [sequences, heads, length, dim], sinks [heads]; `window` > 0: query i sees keys in (i - window, i].
// Softmax in f32; the result has the dtype of v, [sequences, heads, length, value dim].
at::Tensor AttendWithSinks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& sinks, int64_t window, double scale);

}  // namespace quantmoe
