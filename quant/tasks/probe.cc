// probe: what errors in one layer cost at the output of the model. Attention, dense or shared MLP, and
// experts are each quantized alone at the smallest width, the rest of the model runs on with the streams of
// all three, and the divergence of the predicted tokens is taken, window by window. Block errors of different
// layers compare only after this scale. With a plan, what surrounds the layer is as it says, and each group
// is moved one width up, and one down.
#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/tail_figures.h"
#include "plan/job/plan_step.h"
#include "quant/artifact/quantized_weights.h"
#include "quant/model/likelihood.h"
#include "quant/tasks/arguments.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {
namespace {

using Moves = std::map<std::string, BitPlan>;

absl::StatusOr<std::vector<PartTable>> ReadTables(const TaskArguments& arguments, BlobStore& blobs) {
  std::vector<PartTable> tables;
  for (const Digest& digest : arguments.InputSeries("table")) {
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
    ASSIGN_OR_RETURN(PartTable table, PartTableFromJson(blob.bytes()));
    tables.push_back(std::move(table));
  }
  return tables;
}

// Each group of the layer at the smallest width that was solved, all else as in the original.
absl::StatusOr<Moves> AloneAtTheSmallest(const std::vector<PartTable>& tables, int group_size) {
  Moves moves;
  for (const PartTable& table : tables) {
    BitPlan& plan = moves[table.ProbeGroup()];
    plan.group_size = group_size;
    const auto& [width, packed] = *table.blobs.begin();
    for (const DistortionRow& row : table.rows) {
      plan.linears.push_back({row.linear, width, packed, 0, row.method, row.fallback});
    }
  }
  return moves;
}

// What `plan` says of the layer, with each group of it one solved width up, and one down.
absl::StatusOr<Moves> AroundPlan(BitPlan plan, int layer, const std::vector<PartTable>& tables) {
  std::erase_if(plan.linears,
                [layer](const PlannedLinear& planned) { return planned.linear.layer != layer; });
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < plan.linears.size(); ++i) place[plan.linears[i].linear.name] = i;
  Moves moves;
  for (const PartTable& table : tables) {
    for (const DistortionRow& row : table.rows) {
      const auto found = place.find(row.linear.name);
      if (found == place.end())
        return absl::InvalidArgumentError(absl::StrCat("the plan has no width for ", row.linear.name));
      const size_t at = found->second;
      for (const bool raised : {true, false}) {
        const std::optional<int> width = NextWidth(row, plan.linears[at].width, raised);
        if (!width) continue;
        PlannedLinear& moved =
            moves.try_emplace(MoveName(table.ProbeGroup(), raised), plan).first->second.linears[at];
        moved.width = *width;
        moved.blob = table.blobs.at(*width);
      }
    }
  }
  return moves;
}

absl::Status CheckFinite(const std::vector<double>& windows, int layer, const std::string& move) {
  if (std::all_of(windows.begin(), windows.end(), [](double mean) { return std::isfinite(mean); }))
    return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                   absl::StrCat("layer ", layer, ": the probe of ", move, " gives NaN or infinite values"));
}

// The streams, which enter layer `first` and are as `batches` cut each of them, after the last layer. Each
// layer is read once for all of them.
absl::StatusOr<std::vector<at::Tensor>> RunOn(const ModelSpec& spec, int first,
                                              std::vector<at::Tensor> streams, const Batches& batches,
                                              WeightSource& weights, TaskContext& context) {
  const int64_t count = static_cast<int64_t>(streams.size());
  const Batches together = {{count * batches.front().sequences, batches.front().length}};
  at::Tensor joined = at::cat(streams);
  streams.clear();
  const auto report = [&](int layer, const at::Tensor&) {
    context.progress(0.1 + 0.8 * (layer + 1) / static_cast<double>(spec.num_layers()), "the layers after it");
    return CheckCancelled(context);
  };
  ASSIGN_OR_RETURN(joined, RunLayers(spec, first, std::move(joined), together, weights, report));
  return joined.chunk(count);
}

}  // namespace

absl::StatusOr<TaskOutputs> RunProbe(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const int layer, arguments.Param<int>("layer"));
  ASSIGN_OR_RETURN(const int group_size, arguments.Param<int>("group_size"));
  ASSIGN_OR_RETURN(const std::vector<PartTable> tables, ReadTables(arguments, context.blobs));
  BitPlan around;
  if (arguments.HasInput("plan")) {
    ASSIGN_OR_RETURN(around, ReadInput(arguments, context.blobs, "plan", BitPlanFromJson));
  }
  ASSIGN_OR_RETURN(const Moves moves, around.linears.empty() ? AloneAtTheSmallest(tables, group_size)
                                                             : AroundPlan(around, layer, tables));
  ASSIGN_OR_RETURN(const at::Tensor sample, ReadStream(arguments, context.blobs, "hidden"));
  ASSIGN_OR_RETURN(const at::Tensor last, ReadStream(arguments, context.blobs, "last"));
  const Batches batches = {{sample.size(0), sample.size(1)}};
  const at::Tensor hidden = sample.flatten(0, 1);
  if (moves.empty())
    return MakeError(absl::StatusCode::kInvalidArgument, "NOTHING_TO_MOVE",
                     absl::StrCat("layer ", layer, " was solved at one width only"));
  CheckpointWeights original(model.spec, model.checkpoint, at::kFloat);
  std::vector<at::Tensor> streams;
  for (const auto& [name, plan] : moves) {
    context.progress(0.1 * static_cast<double>(streams.size() + 1) / static_cast<double>(moves.size()), name);
    PlannedWeights changed(plan, original, context.blobs);
    ASSIGN_OR_RETURN(LayerTrace trace, RunLayer(model.spec, layer, hidden, batches, changed));
    streams.push_back(std::move(trace.output));
  }
  PlannedWeights behind(around, original, context.blobs);
  ASSIGN_OR_RETURN(streams, RunOn(model.spec, layer + 1, std::move(streams), batches, behind, context));
  ASSIGN_OR_RETURN(const OutputHead head, OutputHead::Load(model.spec, original));
  nlohmann::json divergence = nlohmann::json::object();
  const std::vector<Divergences> found = CompareRows(head, last.flatten(0, 1), streams);
  for (const auto& [name, plan] : moves) {
    const std::vector<double> windows = WindowMeans(found[divergence.size()].rows, sample.size(1));
    RETURN_IF_ERROR(CheckFinite(windows, layer, name));
    divergence[name] = windows;
  }
  const nlohmann::json sensitivity = {{"layer", layer}, {"divergence", std::move(divergence)}};
  ASSIGN_OR_RETURN(const Digest stored, context.blobs.Put(sensitivity.dump()));
  return TaskOutputs{{"sensitivity", stored}};
}

}  // namespace quantmoe
