// What solve and re-solve have in common: one part of a layer, its weights on the host and on the device, the
// options of the task, and how the states and the routing that the task was given are read.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "quant/device/compute_device.h"
#include "quant/device/device_upload.h"
#include "quant/model/device_weights.h"
#include "quant/model/router.h"
#include "quant/model/weights.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/expert_rows.h"
#include "quant/tasks/solve_options.h"

namespace quantmoe {

class PartTask {
 public:
  // All but `part` must outlive the object.
  PartTask(const OpenedModel& model, Part part, const TaskArguments& arguments, TaskContext& context);

  // INVALID_ARGUMENT names a parameter that is missing or has a wrong value.
  absl::Status ReadOptions();

 protected:
  // Tensor `name` of the input ROLE.SHARD, on the host, as its producer wrote it and widened as of GetStates.
  // CANCELLED when the task is; INVALID_ARGUMENT when there is no such input; errors of GetStates.
  absl::StatusOr<at::Tensor> Shard(const std::string& role, const std::string& name, size_t shard);
  // Where the tokens of each shard go. Errors of Shard.
  absl::StatusOr<std::vector<Dispatch>> Dispatches(size_t shards);
  // The linears of an attention part by the input that they see, in the order in which inputs depend on
  // earlier linears.
  std::vector<std::vector<size_t>> LinearsByInput() const;

  const OpenedModel& model_;
  const Part part_;
  const TaskArguments& arguments_;
  TaskContext& context_;
  CheckpointWeights weights_;  // f32, on the host
  const ComputeDevice& device_;
  DeviceUpload upload_;
  DeviceWeights device_weights_;
  SolveOptions options_;
  ExpertCalibration experts_;
};

}  // namespace quantmoe
