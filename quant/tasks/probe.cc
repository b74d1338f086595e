// probe: what errors in one layer cost at the output of the model. Attention, dense or shared MLP, and
// experts are each quantized alone at the smallest width, the rest of the model runs on, and the divergence
// of the predicted tokens is taken. Block errors of different layers compare only after this scale.
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/model/likelihood.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/block_probe.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

// The sample: the start of the first sequences of each given shard.
constexpr int64_t kSequences = 2;
constexpr int64_t kLength = 256;

// [sequences, length, hidden].
absl::StatusOr<at::Tensor> Sample(const TaskArguments& arguments, BlobStore& blobs) {
  std::vector<at::Tensor> pieces;
  for (const Digest& digest : arguments.InputSeries("hidden")) {
    ASSIGN_OR_RETURN(const NamedTensors tensors, GetStates(blobs, digest));
    pieces.push_back(FirstRows(tensors.at("hidden").slice(1, 0, kLength), kSequences));
  }
  return at::cat(pieces, 0);
}

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

}  // namespace

absl::StatusOr<TaskOutputs> RunProbe(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const auto plans, PlansByGroup(arguments, context.blobs));
  ASSIGN_OR_RETURN(const at::Tensor sample, Sample(arguments, context.blobs));
  const Batches batches = {{sample.size(0), sample.size(1)}};
  const at::Tensor hidden = sample.flatten(0, 1);
  CheckpointWeights original(model.spec, model.checkpoint, at::kFloat);
  const auto poll = [&](int, const at::Tensor&) { return CheckCancelled(context); };
  ASSIGN_OR_RETURN(const OutputHead head, OutputHead::Load(model.spec, original));
  ASSIGN_OR_RETURN(const at::Tensor reference, RunLayers(model.spec, layer, hidden, batches, original, poll));

  nlohmann::json divergence = nlohmann::json::object();
  for (const auto& [group, plan] : plans) {
    context.progress(static_cast<double>(divergence.size() + 1) / static_cast<double>(plans.size() + 1),
                     group);
    PlannedWeights changed(plan, original, context.blobs);
    ASSIGN_OR_RETURN(const at::Tensor last, RunLayers(model.spec, layer, hidden, batches, changed, poll));
    divergence[group] = MeanDivergence(head, reference, last);
  }
  const nlohmann::json sensitivity = {{"layer", layer}, {"divergence", std::move(divergence)}};
  ASSIGN_OR_RETURN(const Digest digest, context.blobs.Put(sensitivity.dump()));
  return TaskOutputs{{"sensitivity", digest}};
}

}  // namespace quantmoe
