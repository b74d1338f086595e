// allocate: from what the solves found to a width for every linear. No tensor is read.
#include "base/status_macros.h"
#include "plan/bit_plan.h"
#include "plan/distortion_table.h"
#include "quant/tasks/arguments.h"

namespace quantmoe {
namespace {

// The parts of a spec that allocation reads.
absl::StatusOr<JobSpec> AllocationSpec(const TaskArguments& arguments) {
  JobSpec spec;
  ASSIGN_OR_RETURN(const nlohmann::json budget, arguments.Param<nlohmann::json>("budget"));
  if (budget.contains("average_bits") && !budget["average_bits"].is_null())
    spec.budget.average_bits = budget["average_bits"];
  if (budget.contains("max_bytes") && !budget["max_bytes"].is_null())
    spec.budget.max_bytes = budget["max_bytes"];
  ASSIGN_OR_RETURN(spec.heuristic, arguments.Param<std::string>("heuristic"));
  ASSIGN_OR_RETURN(spec.heuristic_params, (arguments.Param<std::map<std::string, std::string>>("params")));
  ASSIGN_OR_RETURN(spec.runtime_profile, arguments.Param<std::string>("profile"));
  ASSIGN_OR_RETURN(spec.gptq.max_fallback_ratio, arguments.Param<double>("max_fallback_ratio"));
  ASSIGN_OR_RETURN(spec.gptq.group_size, arguments.Param<int>("group_size"));
  return spec;
}

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
      for (PartTable& part : table.parts) {
        if (belongs(part) && error > 0) part.loss_scale = divergence.get<double>() / error;
      }
    }
  }
  return absl::OkStatus();
}

// Inputs "table.<layer>.<part>" and "counts.<layer>.<shard>".
absl::StatusOr<DistortionTable> CollectTable(const TaskArguments& arguments, BlobStore& blobs) {
  DistortionTable table;
  std::map<int, std::vector<int64_t>> counts;
  for (const auto& [role, digest] : arguments.inputs()) {
    if (role.starts_with("sensitivity.")) continue;
    ASSIGN_OR_RETURN(const MappedFile blob, blobs.Open(digest));
    if (role.starts_with("table.")) {
      ASSIGN_OR_RETURN(PartTable part, PartTableFromJson(blob.bytes()));
      table.parts.push_back(std::move(part));
      continue;
    }
    ASSIGN_OR_RETURN(const nlohmann::json json, GetJson(blobs, digest));
    const auto shard = json.at("counts").get<std::vector<int64_t>>();
    std::vector<int64_t>& sum = counts[json.at("layer").get<int>()];
    sum.resize(shard.size());
    for (size_t e = 0; e < shard.size(); ++e) sum[e] += shard[e];
  }
  std::sort(table.parts.begin(), table.parts.end(), [](const PartTable& a, const PartTable& b) {
    return std::pair(a.layer, a.part) < std::pair(b.layer, b.part);
  });
  for (auto& [layer, sum] : counts) table.routing.push_back({layer, std::move(sum)});
  return table;
}

}  // namespace

absl::StatusOr<TaskOutputs> RunAllocate(const TaskArguments& arguments, TaskContext& context) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenTaskModel(arguments, context));
  ASSIGN_OR_RETURN(const JobSpec spec, AllocationSpec(arguments));
  ASSIGN_OR_RETURN(DistortionTable table, CollectTable(arguments, context.blobs));
  RETURN_IF_ERROR(ScaleLosses(arguments, context.blobs, table));
  ASSIGN_OR_RETURN(const BitPlan plan, Allocate(table, spec, KeptTensors(model.spec, *model.checkpoint)));
  ASSIGN_OR_RETURN(const Digest plan_digest, context.blobs.Put(BitPlanToJson(plan)));
  ASSIGN_OR_RETURN(const Digest table_digest, context.blobs.Put(DistortionTableToJson(table)));
  return TaskOutputs{{"plan", plan_digest}, {"table", table_digest}};
}

}  // namespace quantmoe
