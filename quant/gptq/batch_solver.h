// The solver of solver.h for many equally shaped inputs at once, such as those of all experts of a part, on
// the device that holds the tensors. ATen does the factors and the large products, two kernels the rest.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "quant/device/batch_kernels.h"
#include "quant/gptq/solver.h"

namespace quantmoe {

// A sum of outer products, whole and symmetric, and of how many tokens.
struct SummedInput {
  at::Tensor hessian;  // [in, in] f32
  int64_t tokens = 0;
};

// Factors all inputs as Factor does one; errors as those of Factor. At least one input; all must agree in
// their shape and device. INVALID_ARGUMENT when they do not, and for order `group`, which the kernels do not
// know.
absl::StatusOr<std::vector<SolveFactor>> FactorBatch(const std::vector<SummedInput>& inputs,
                                                     const SolveOptions& options);

// A factor of FactorBatch and what is solved with it.
struct FactoredWeights {
  const SolveFactor* factor;
  std::vector<at::Tensor> weights;  // [out, in] f32 each, on the device of the factor
};

// Of each linear of an input, on its device, by width.
using SolvedInput = std::vector<std::map<int, QuantizedLinear>>;

// Quantizes all weights at all widths of `options`; errors as those of Solve. At least one input; the inputs
// must agree in the shapes of their weights.
//
// A batch must not depend on who computes it: the device may choose its algorithms by the number of inputs,
// so the bytes of a result depend on which inputs are solved together with it. c10::AcceleratorError is
// thrown when a kernel fails.
absl::StatusOr<std::vector<SolvedInput>> SolveBatch(const std::vector<FactoredWeights>& inputs,
                                                    const SolveOptions& options, const BatchKernels& kernels);

}  // namespace quantmoe
