#include "quant/gptq/device_solver.h"

#include <utility>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/device/compute_device.h"

namespace quantmoe {
namespace {

// On the host; the results go to `device`.
absl::StatusOr<SharedSolution> SolveOne(const SharedInput& input, const SolveOptions& options,
                                        const c10::Device& device) {
  SharedSolution solution;
  ASSIGN_OR_RETURN(solution.factor, Factor(input.hessian.cpu(), input.tokens, options));
  for (const at::Tensor& weight : input.weights) {
    ASSIGN_OR_RETURN(auto solved, Solve(weight.cpu(), solution.factor, options));
    for (auto& [bits, linear] : solved) {
      linear.codes = linear.codes.to(device);
      linear.scales = linear.scales.to(device);
    }
    solution.linears.push_back(std::move(solved));
  }
  solution.factor.hessian = solution.factor.hessian.to(device);
  return solution;
}

}  // namespace

absl::StatusOr<std::vector<SharedSolution>> SolveOnDevice(std::vector<SharedInput> inputs,
                                                          const SolveOptions& options) {
  const ComputeDevice& device = CurrentComputeDevice();
  std::vector<SharedSolution> solutions;
  // Group-aware order fits scales between blocks, which the kernels do not.
  if (!device.batches() || options.order == ColumnOrder::kGroup) {
    for (SharedInput& input : inputs) {
      ASSIGN_OR_RETURN(SharedSolution solution, SolveOne(input, options, device.device));
      input = {};  // one Hessian at a time
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
