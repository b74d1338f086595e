// GPTQ of many equally shaped inputs at once, such as those of all experts of a part, on the device that
// holds the tensors. The same algorithm as solver.h: ATen does the factors and the large products, two
// kernels the rest (quant/gptq/cuda). The kernels come from outside: those of libquantmoe_cuda.so on a GPU.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "quant/gptq/cuda/kernels.h"
#include "quant/gptq/solver.h"

namespace quantmoe {

struct BatchKernels {
  QuantmoeFitGridFunction fit_grid;
  QuantmoeSolveBlockFunction solve_block;
  const char* (*error_text)(int error);
};

// One input, and the linears that see it.
struct SharedInput {
  at::Tensor hessian;  // [in, in] f32, symmetric
  int64_t tokens = 0;
  std::vector<at::Tensor> weights;  // [out, in] f32 each
};

struct SharedSolution {
  SolveFactor factor;                                   // without `order`, `upper` and `added`
  std::vector<std::map<int, QuantizedLinear>> linears;  // one for each of `weights`, on their device
};

// Solves all inputs at all widths. `inputs` must agree in their shapes and devices; at least one. Every
// result is a function of all inputs, because the device may choose its way by their number: a batch must not
// depend on who computes it. Errors as those of Factor and Solve. c10::AcceleratorError when a kernel fails.
absl::StatusOr<std::vector<SharedSolution>> SolveBatch(const std::vector<SharedInput>& inputs,
                                                       const SolveOptions& options,
                                                       const BatchKernels& kernels);

}  // namespace quantmoe
