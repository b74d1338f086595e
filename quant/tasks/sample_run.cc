#include "quant/tasks/sample_run.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/artifact/quantized_weights.h"

namespace quantmoe {
namespace {

constexpr double kBroken = 1e6;  // nats

Batches BatchesOf(const at::Tensor& sample) { return {{sample.size(0), sample.size(1)}}; }

std::function<absl::Status(int, const at::Tensor&)> Poll(TaskContext& context) {
  return [&context](int, const at::Tensor&) { return CheckCancelled(context); };
}

}  // namespace

SampleRun::SampleRun(const OpenedModel& model, const at::Tensor& sample, TaskContext& context)
    : model_(model),
      context_(context),
      original_(model.spec, model.checkpoint, at::kFloat),
      sample_(sample) {}

absl::Status SampleRun::RunOriginal() {
  ASSIGN_OR_RETURN(head_, OutputHead::Load(model_.spec, original_));
  ASSIGN_OR_RETURN(reference_, RunLayers(model_.spec, 0, sample_.flatten(0, 1), BatchesOf(sample_), original_,
                                         Poll(context_)));
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> SampleRun::Run(const BitPlan& plan) {
  PlannedWeights weights(plan, original_, context_.blobs);
  return RunLayers(model_.spec, 0, sample_.flatten(0, 1), BatchesOf(sample_), weights, Poll(context_));
}

absl::Status SampleRun::Trace(const BitPlan& plan, int64_t windows,
                              const std::function<absl::Status(int layer, const at::Tensor& stream)>& visit) {
  const at::Tensor first = sample_.slice(0, 0, windows);
  PlannedWeights weights(plan, original_, context_.blobs);
  const auto after_layer = [&](int layer, const at::Tensor& stream) {
    RETURN_IF_ERROR(CheckCancelled(context_));
    if (layer + 1 == model_.spec.num_layers()) return absl::OkStatus();
    return visit(layer + 1, stream.view_as(first));
  };
  return RunLayers(model_.spec, 0, first.flatten(0, 1), BatchesOf(first), weights, after_layer).status();
}

std::vector<MeasuredPlan> SampleRun::Compare(const std::vector<at::Tensor>& streams) const {
  std::vector<MeasuredPlan> measured;
  for (Divergences& found : CompareRows(head_, reference_, streams)) {
    // What is no number is as broken as can be, and still to be compared.
    for (double& row : found.rows) row = std::isfinite(row) ? row : kBroken;
    measured.push_back(
        {WindowMeans(found.rows, length()), FiguresOf(found.rows, length(), found.top1_flips)});
  }
  return measured;
}

}  // namespace quantmoe
