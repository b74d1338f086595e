// Where the numerics run: the CPU, or one GPU whose libraries are opened at run time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <c10/core/Device.h>

#include "quant/device/batch_kernels.h"

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
  // OK while the device works. ABORTED DEVICE_FAILURE once it reports an error that stays: the process must
  // end.
  absl::Status Check() const;
};

// The device that `choice` names: "cpu"; "cuda" or "cuda:N"; "auto" for the first GPU if everything that it
// needs is there, else the CPU. Call once, before the first task and before any other use of ATen, which sees
// a GPU at its first call or never. FAILED_PRECONDITION DEVICE_UNAVAILABLE says what is missing when a GPU
// was asked for; INVALID_ARGUMENT for another text.
absl::StatusOr<ComputeDevice> OpenComputeDevice(const std::string& choice);

}  // namespace quantmoe
