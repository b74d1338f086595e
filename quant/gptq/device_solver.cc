#include "quant/gptq/device_solver.h"

#include <utility>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/compute_device.h"

namespace quantmoe {
namespace {

absl::StatusOr<SharedSolution> SolveOne(SharedInput input, const SolveOptions& options) {
  SharedSolution solution;
  ASSIGN_OR_RETURN(solution.factor, Factor(std::move(input.hessian), input.tokens, options));
  for (const at::Tensor& weight : input.weights) {
    ASSIGN_OR_RETURN(auto solved, Solve(weight, solution.factor, options));
    solution.linears.push_back(std::move(solved));
  }
  return solution;
}

}  // namespace

absl::StatusOr<std::vector<SharedSolution>> SolveOnDevice(std::vector<SharedInput> inputs,
                                                          const SolveOptions& options) {
  const ComputeDevice& device = CurrentComputeDevice();
  std::vector<SharedSolution> solutions;
  if (!device.batches()) {
    for (SharedInput& input : inputs) {
      ASSIGN_OR_RETURN(SharedSolution solution, SolveOne(std::move(input), options));
      solutions.push_back(std::move(solution));
    }
    return solutions;
  }
  for (SharedInput& input : inputs) {
    input.hessian = input.hessian.to(device.device);
    for (at::Tensor& weight : input.weights) weight = weight.to(device.device);
  }
  return SolveBatch(inputs, options, device.kernels);
}

}  // namespace quantmoe
