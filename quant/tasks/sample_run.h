// Plans on a sample: how far the model under a plan is from the original one.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/tail_figures.h"
#include "quant/model/likelihood.h"
#include "quant/model/weights.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/task_context.h"

namespace quantmoe {

// A plan on the sample.
struct MeasuredPlan {
  std::vector<double> windows;  // mean divergence of each, in nats a token
  TailFigures figures;
};

class SampleRun {
 public:
  // `sample` [windows, length, hidden] enters layer 0. The others must outlive the run.
  SampleRun(const OpenedModel& model, const at::Tensor& sample, TaskContext& context);

  // Once, before any comparison. Errors of the weights; CANCELLED.
  absl::Status RunOriginal();

  // The stream after the last layer under `plan`: [windows * length, hidden]. Errors as above.
  absl::StatusOr<at::Tensor> Run(const BitPlan& plan);

  // The first `windows` of the sample under `plan`. `visit` gets the stream that enters each layer but the
  // first, [windows, length, hidden]; its errors, and those above.
  absl::Status Trace(const BitPlan& plan, int64_t windows,
                     const std::function<absl::Status(int layer, const at::Tensor& stream)>& visit);

  // How far the plans of such streams are from the original model.
  std::vector<MeasuredPlan> Compare(const std::vector<at::Tensor>& streams) const;

  int64_t windows() const { return sample_.size(0); }
  int64_t length() const { return sample_.size(1); }

 private:
  const OpenedModel& model_;
  TaskContext& context_;
  CheckpointWeights original_;
  const at::Tensor sample_;
  OutputHead head_;
  at::Tensor reference_;
};

}  // namespace quantmoe
