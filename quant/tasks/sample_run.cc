#include "quant/tasks/sample_run.h"

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/graph/task_definition.h"
#include "quant/artifact/quantized_weights.h"

namespace quantmoe {

SampleRun::SampleRun(const OpenedModel& model, const at::Tensor& sample, TaskContext& context)
    : model_(model),
      context_(context),
      original_(model.spec, model.checkpoint, at::kFloat),
      batches_({{sample.size(0), sample.size(1)}}),
      stride_((static_cast<int>(model.spec.num_layers()) + kRefinementStates - 1) / kRefinementStates),
      kept_({{0, sample.flatten(0, 1)}}) {}

absl::Status SampleRun::RunOriginal() {
  ASSIGN_OR_RETURN(head_, OutputHead::Load(model_.spec, original_));
  ASSIGN_OR_RETURN(reference_, RunLayers(model_.spec, 0, kept_.at(0), batches_, original_, Poll()));
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> SampleRun::Run(const BitPlan& plan, int first) {
  const auto start = std::prev(kept_.upper_bound(first));
  PlannedWeights weights(plan, original_, context_.blobs);
  trial_.clear();
  const auto keep = [this](int layer, const at::Tensor& hidden) {
    if ((layer + 1) % stride_ == 0) trial_[layer + 1] = hidden;
    return CheckCancelled(context_);
  };
  return RunLayers(model_.spec, start->first, start->second, batches_, weights, keep);
}

std::vector<Divergences> SampleRun::Compare(const std::vector<at::Tensor>& streams) const {
  return CompareRows(head_, reference_, streams);
}

void SampleRun::Keep() {
  for (auto& [layer, hidden] : trial_) kept_[layer] = std::move(hidden);
}

std::function<absl::Status(int, const at::Tensor&)> SampleRun::Poll() {
  return [this](int, const at::Tensor&) { return CheckCancelled(context_); };
}

}  // namespace quantmoe
