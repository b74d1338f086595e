// Where the numerics run: the CPU, or one GPU whose libraries are opened at run time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include <c10/core/Device.h>

#include "quant/gptq/batch_solver.h"

namespace quantmoe {

struct ComputeDevice {
  c10::Device device = c10::Device(c10::kCPU);
  std::string name = "cpu";      // or the GPU's
  std::string determinism = {};  // what of it may change bytes; empty for the CPU
  int64_t memory_bytes = 0;      // the GPU's
  BatchKernels kernels = {};     // on a GPU only
  int (*health)(int) = nullptr;  // on a GPU only: 0 while it works

  bool is_gpu() const { return !device.is_cpu(); }
  // Inputs of a part are solved together by `kernels`.
  bool batches() const { return kernels.solve_block != nullptr; }
};

// Chooses the device of this process; call once, before the first task and before any other use of ATen.
// `choice`: "cpu"; "cuda" or "cuda:N"; "auto" for the first GPU if everything that it needs is there, else
// the CPU. FAILED_PRECONDITION DEVICE_UNAVAILABLE says what is missing when a GPU was asked for;
// INVALID_ARGUMENT for another text.
absl::Status ChooseComputeDevice(const std::string& choice);

// Sets the device of this process; for ChooseComputeDevice, and for tests that bring their own kernels.
void UseComputeDevice(ComputeDevice device);

// The CPU until another one was chosen.
const ComputeDevice& CurrentComputeDevice();

// OK while the device works. ABORTED DEVICE_FAILURE once it reports an error that stays: the process must
// end.
absl::Status CheckComputeDevice();

}  // namespace quantmoe
