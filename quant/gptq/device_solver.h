// Factor and solve on the device of the process (quant/device/compute_device.h): one input after the other on
// the CPU, all together on a GPU. Group-aware column order is always solved on the CPU.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

#include "quant/gptq/batch_solver.h"

namespace quantmoe {

// Tensors may be on the host or on the device; results are on the device. Errors as those of Factor and
// Solve. On a GPU `inputs` must agree in their shapes.
absl::StatusOr<std::vector<SharedSolution>> SolveOnDevice(std::vector<SharedInput> inputs,
                                                          const SolveOptions& options);

}  // namespace quantmoe
