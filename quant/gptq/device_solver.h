// The one way from calibration sums to codes, for the first solve and for the re-solve, on any device: factor
// each Hessian, support those that too few tokens determine, correct the weights for what the layers before
// have lost, quantize.
//
// On the CPU one input comes after the other and is dropped when its linears are done. A GPU takes all inputs
// in one batch (batch_solver.h). Column order `group` fits scales between columns, which the GPU's kernels do
// not: it is solved on the CPU everywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include <ATen/core/Tensor.h>

#include "quant/device/compute_device.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/solver.h"

namespace quantmoe {

// What the tokens of one input add up to.
struct CalibrationSums {
  Hessian hessian;
  // [in, in] f32: sum (x - x') x'^T over inputs x of the original model and x' behind quantized layers
  // (correction.h); undefined: weights are solved as they are.
  at::Tensor cross = {};
};

// A weight that is to be quantized.
struct LinearTarget {
  size_t id = 0;            // for the caller
  std::string name;         // for errors
  at::Tensor weight;        // [out, in] f32
  std::vector<int> widths;  // in bits
};

// Linears that see the same input. All tensors are on the device.
struct SharedInput {
  CalibrationSums own;
  std::vector<LinearTarget> linears;
  // Sums of other tokens. They are added, times `support_weight`, when the own tokens determine too little:
  // when none came, or the effective rank is below 0.9 of the channels. Without tokens: no support. They have
  // `cross` where the own ones have it.
  CalibrationSums support = {Hessian(0)};
  double support_weight = 0;
};

// One linear, solved. References are valid during the call that hands it over.
struct SolvedLinear {
  size_t input;                // its place among the inputs
  const LinearTarget& target;  // with the weight as it was given
  // Of the input, with its tensors on the device but for order `group`, where only the Hessian is. `tokens`
  // counts the own ones, and `effective_rank` is theirs.
  const SolveFactor& factor;
  std::map<int, QuantizedLinear> widths;  // by width, on the device
};
using SolvedSink = std::function<absl::Status(SolvedLinear solved)>;

// True when inputs are solved together: then the caller should bring all that belong to one task at once.
bool SolvesTogether(const ComputeDevice& device, const SolveOptions& options);

// Solves every linear of every input and hands each over, in order; ends with the first error that `sink`
// returns. Widths are those of the linears, not of `options`. Where inputs are solved together they must
// agree in the shapes of their linears. Errors as those of Factor and Solve, with the name of the linear, or
// of the first one that an error concerns. c10::AcceleratorError is thrown when a kernel fails.
absl::Status SolveShared(std::vector<SharedInput> inputs, const SolveOptions& options,
                         const ComputeDevice& device, const SolvedSink& sink);

}  // namespace quantmoe
