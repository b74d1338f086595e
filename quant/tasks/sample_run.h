// Plans on a sample: how far the model under a plan is from the original one.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/allocate/bit_plan.h"
#include "quant/model/likelihood.h"
#include "quant/model/weights.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/task_context.h"

namespace quantmoe {

// It keeps the streams that enter some layers under the best plan so far: a trial that changes nothing below
// a layer starts there.
class SampleRun {
 public:
  // `sample` [windows, length, hidden] enters layer 0. The others must outlive the run.
  SampleRun(const OpenedModel& model, const at::Tensor& sample, TaskContext& context);

  // Once, before any plan. Errors of the weights; CANCELLED.
  absl::Status RunOriginal();

  // The stream after the last layer under `plan`, which differs from the best one from layer `first` on:
  // [windows * length, hidden]. Errors as above.
  absl::StatusOr<at::Tensor> Run(const BitPlan& plan, int first);

  // How far such streams are from the original model.
  std::vector<Divergences> Compare(const std::vector<at::Tensor>& streams) const;

  // The plan that ran last is the best one.
  void Keep();

  int64_t length() const { return batches_.front().length; }

 private:
  std::function<absl::Status(int, const at::Tensor&)> Poll();

  const OpenedModel& model_;
  TaskContext& context_;
  CheckpointWeights original_;
  const Batches batches_;
  const int stride_;
  OutputHead head_;
  at::Tensor reference_;
  std::map<int, at::Tensor> kept_, trial_;  // by the layer that they enter
};

}  // namespace quantmoe
