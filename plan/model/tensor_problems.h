// Whether a checkpoint has every tensor that the forward pass reads, in a form and a shape that is known.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

#include "plan/model/model_spec.h"
#include "plan/model/tensor_problems.h"
#include "sources/checkpoint.h"

namespace quantmoe {

// The published names of all tensors beside linears and their biases that the forward pass reads.
std::vector<std::string> ListOtherTensors(const ModelSpec& spec);

// Checks that every tensor that the forward pass needs is there in one known form (tensor_views.h) with the
// right shape and dtype, and as many experts as config.json says. INVALID_ARGUMENT MODEL_INVALID or
// MODEL_UNSUPPORTED names tensor and file.
absl::Status CheckTensors(const ModelSpec& spec, const Checkpoint& checkpoint);
// All errors that CheckTensors could give, each once; the first is the one that it gives.
std::vector<absl::Status> FindTensorProblems(const ModelSpec& spec, const Checkpoint& checkpoint);
// Those of them that are about tensors that are no linear's.
std::vector<absl::Status> FindOtherTensorProblems(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace quantmoe
