// allocate: from what the solves found to a width for every linear. No tensor is read.
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "plan/job/job_allocation.h"
#include "plan/job/pareto.h"
#include "plan/model/tensor_views.h"
#include "plan/options/heuristic_names.h"
#include "quant/tasks/arguments.h"
#include "quant/tasks/choice_spec.h"

namespace quantmoe {
namespace {

// Points of the front that the report shows.
constexpr int kFrontPoints = 24;

// Scales the block errors of each probed group so that, at its smallest width, they add up to the measured
// divergence.
absl::Status ScaleLosses(const TaskArguments& arguments, BlobStore& blobs, DistortionTable& table) {
  for (const auto& [role, digest] : arguments.inputs()) {
    if (!role.starts_with("sensitivity.")) continue;
    ASSIGN_OR_RETURN(const nlohmann::json json, GetJson(blobs, digest));
    const int layer = json.at("layer").get<int>();
    for (const auto& [group, divergence] : json.at("divergence").items()) {
      double error = 0;
      const auto belongs = [&, &name = group](const PartTable& part) {
        return part.layer == layer && part.ProbeGroup() == name;
      };
      for (const PartTable& part : table.parts) {
        if (!belongs(part)) continue;
        for (const DistortionRow& row : part.rows) error += row.widths.begin()->second.block_error;
      }
      std::vector<double> scales = divergence.get<std::vector<double>>();
      if (error <= 0 || scales.empty()) continue;
      for (double& scale : scales) scale /= error;
      for (PartTable& part : table.parts) {
        if (!belongs(part)) continue;
        part.loss_scale =
            std::accumulate(scales.begin(), scales.end(), 0.0) / static_cast<double>(scales.size());
        part.window_scales = scales;
      }
    }
  }
  return absl::OkStatus();
}

// Inputs come sorted by role, so sums always run in the same order.
void AddShard(const RoutingCounts& shard, RoutingCounts& sum) {
  sum.layer = shard.layer;
  sum.counts.resize(shard.counts.size());
  sum.router_weights.resize(shard.router_weights.size());
  for (size_t e = 0; e < shard.counts.size(); ++e) sum.counts[e] += shard.counts[e];
  for (size_t e = 0; e < shard.router_weights.size(); ++e) sum.router_weights[e] += shard.router_weights[e];
  sum.tokens += shard.tokens;
  sum.ffn_cosine += shard.ffn_cosine;
  sum.stream_cosine += shard.stream_cosine;
}

// What the networks of `predict` tasks say of each layer.
absl::Status AddPredictions(const TaskArguments& arguments, BlobStore& blobs,
                            std::map<int, RoutingCounts>& routing) {
  for (const auto& [role, digest] : arguments.inputs()) {
    if (!role.starts_with("importance.")) continue;
    ASSIGN_OR_RETURN(const nlohmann::json json, GetJson(blobs, digest));
    routing[json.at("layer").get<int>()].predicted_cosine = json.at("predicted_cosine").get<double>();
  }
  return absl::OkStatus();
}

// Inputs "table.<layer>.<part>", "counts.<layer>.<shard>" and "stream.<layer>.<shard>".
absl::StatusOr<DistortionTable> CollectTable(const TaskArguments& arguments, BlobStore& blobs) {
  DistortionTable table;
  std::map<int, RoutingCounts> routing;
  std::map<int, StreamStatistics> streams;
  for (const auto& [role, digest] : arguments.inputs()) {
    if (!role.starts_with("table.") && !role.starts_with("counts.") && !role.starts_with("stream.")) continue;
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
    if (role.starts_with("stream.")) {
      ASSIGN_OR_RETURN(const StreamStatistics shard, StreamStatisticsFromJson(blob.bytes()));
      AddShard(shard, streams[shard.layer]);
      continue;
    }
    if (role.starts_with("table.")) {
      ASSIGN_OR_RETURN(PartTable part, PartTableFromJson(blob.bytes()));
      table.parts.push_back(std::move(part));
      continue;
    }
    ASSIGN_OR_RETURN(const RoutingCounts shard, RoutingCountsFromJson(blob.bytes()));
    AddShard(shard, routing[shard.layer]);
  }
  RETURN_IF_ERROR(AddPredictions(arguments, blobs, routing));
  std::sort(table.parts.begin(), table.parts.end(), [](const PartTable& a, const PartTable& b) {
    return std::pair(a.layer, a.part) < std::pair(b.layer, b.part);
  });
  for (auto& [layer, sum] : routing) table.routing.push_back(std::move(sum));
  for (auto& [layer, sum] : streams) table.streams.push_back(std::move(sum));
  return table;
}

// What the plan has to beat: the largest single width that fits the same budget.
absl::StatusOr<BlobRef> PutReference(JobSpec spec, const DistortionTable& table,
                                     const std::vector<TensorInfo>& kept, BlobStore& blobs) {
  spec.heuristic = kUniformHeuristic;
  spec.heuristic_params.clear();
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(table, spec, kept));
  ASSIGN_OR_RETURN(const Digest digest, blobs.Put(BitPlanToJson(plan)));
  return BlobRef{"reference", digest};
}

}  // namespace

absl::StatusOr<TaskOutputs> RunAllocate(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const JobSpec spec, ReadChoiceSpec(arguments));
  ASSIGN_OR_RETURN(DistortionTable table, CollectTable(arguments, context.blobs));
  RETURN_IF_ERROR(ScaleLosses(arguments, context.blobs, table));
  const std::vector<TensorInfo> kept = KeptTensors(model.spec, *model.checkpoint);
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(table, spec, kept));
  ASSIGN_OR_RETURN(const Digest plan_digest, context.blobs.Put(BitPlanToJson(plan)));
  ASSIGN_OR_RETURN(const Digest table_digest, context.blobs.Put(DistortionTableToJson(table)));
  ASSIGN_OR_RETURN(const ParetoFront front, TraceFront(table, spec, kept, kFrontPoints));
  ASSIGN_OR_RETURN(const Digest front_digest, context.blobs.Put(ParetoFrontToJson(front)));
  TaskOutputs outputs = {{"plan", plan_digest}, {"table", table_digest}, {"front", front_digest}};
  if (arguments.params().value("reference", false)) {
    ASSIGN_OR_RETURN(BlobRef reference, PutReference(spec, table, kept, context.blobs));
    outputs.push_back(std::move(reference));
  }
  return outputs;
}

}  // namespace quantmoe
