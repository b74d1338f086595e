// probe: what errors in one layer cost at the output of the model. Attention, dense or shared MLP, and
// experts are each quantized alone at the smallest width, the rest of the model runs on, and the divergence
// of the predicted tokens is taken, window by window. Block errors of different layers compare only after
// this scale.
#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/tail_figures.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/model/likelihood.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// Each group of the layer at the smallest width that was solved.
absl::StatusOr<std::map<std::string, BitPlan>> PlansByGroup(const TaskArguments& arguments,
                                                            BlobStore& blobs) {
  ASSIGN_OR_RETURN(const int group_size, arguments.Param<int>("group_size"));
  std::map<std::string, BitPlan> plans;
  for (const Digest& digest : arguments.InputSeries("table")) {
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
    ASSIGN_OR_RETURN(const PartTable table, PartTableFromJson(blob.bytes()));
    BitPlan& plan = plans[table.ProbeGroup()];
    plan.group_size = group_size;
    const auto& [width, packed] = *table.blobs.begin();
    for (const DistortionRow& row : table.rows) {
      plan.linears.push_back({row.linear, width, packed, 0, row.method, row.fallback});
    }
  }
  return plans;
}

absl::Status CheckFinite(const std::vector<double>& windows, int layer, const std::string& group) {
  if (std::all_of(windows.begin(), windows.end(), [](double mean) { return std::isfinite(mean); }))
    return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                   absl::StrCat("layer ", layer, ": the probe of ", group, " gives NaN or infinite values"));
}

}  // namespace

absl::StatusOr<TaskOutputs> RunProbe(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const auto plans, PlansByGroup(arguments, context.blobs));
  ASSIGN_OR_RETURN(const at::Tensor sample, ReadStream(arguments, context.blobs, "hidden"));
  ASSIGN_OR_RETURN(const at::Tensor last, ReadStream(arguments, context.blobs, "last"));
  const Batches batches = {{sample.size(0), sample.size(1)}};
  const at::Tensor hidden = sample.flatten(0, 1);
  CheckpointWeights original(model.spec, model.checkpoint, at::kFloat);
  const auto poll = [&](int, const at::Tensor&) { return CheckCancelled(context); };
  ASSIGN_OR_RETURN(const OutputHead head, OutputHead::Load(model.spec, original));
  const at::Tensor reference = last.flatten(0, 1);
  nlohmann::json divergence = nlohmann::json::object();
  for (const auto& [group, plan] : plans) {
    context.progress(static_cast<double>(divergence.size() + 1) / static_cast<double>(plans.size() + 1),
                     group);
    PlannedWeights changed(plan, original, context.blobs);
    ASSIGN_OR_RETURN(const at::Tensor end, RunLayers(model.spec, layer, hidden, batches, changed, poll));
    const std::vector<double> windows = WindowMeans(RowDivergences(head, reference, end), sample.size(1));
    RETURN_IF_ERROR(CheckFinite(windows, layer, group));
    divergence[group] = windows;
  }
  const nlohmann::json sensitivity = {{"layer", layer}, {"divergence", std::move(divergence)}};
  ASSIGN_OR_RETURN(const Digest stored, context.blobs.Put(sensitivity.dump()));
  return TaskOutputs{{"sensitivity", stored}};
}

}  // namespace quantmoe
