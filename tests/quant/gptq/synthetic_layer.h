// Linears with inputs for tests of the solvers.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace quantmoe {

struct Layer {
  at::Tensor weight;   // [out, in]
  at::Tensor inputs;   // [tokens, in]
  at::Tensor hessian;  // [in, in]
};

// Correlated inputs of very different scale, as trained layers have them.
Layer MakeLayer(int64_t out, int64_t in, int64_t tokens, uint64_t seed);

// What the linear's output loses over all inputs when its weight is `quantized`.
double OutputError(const Layer& layer, const at::Tensor& quantized);

}  // namespace quantmoe
