#include "plan/graph/quantized_pass.h"

#include "absl/strings/str_cat.h"

#include "plan/graph/task_definition.h"
#include "plan/graph/task_kinds.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

std::string ReSolveLabel(const Part& part) { return RecordOf(TaskKind::kReSolve).label({.part = &part}); }
std::string AttendLabel(int layer, int shard) { return absl::StrCat("attend-l", layer, "-s", shard); }
std::string FeedLabel(int layer, int shard) { return absl::StrCat("feed-l", layer, "-s", shard); }

// The stream that enters a layer behind quantized layers.
TaskInput QuantizedInput(std::string role, int layer, int shard) {
  if (layer == 0) return HiddenInput(std::move(role), layer, shard);
  return FromTask(std::move(role), FeedLabel(layer - 1, shard), "hidden");
}

TaskDefinition PlanReSolve(const ResolvedJob& job, const Part& part, int shards) {
  nlohmann::json params = SolveParams(job, part);
  AddTaskParams(job.spec, kSecondPassTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kReSolve, {.part = &part, .shards = shards}, params);
  task.inputs.push_back(ChosenPlan(job));
  for (int s = 0; s < shards; ++s) {
    const std::string number = absl::StrCat(".", s);
    if (part.kind == PartKind::kAttention) {
      task.inputs.push_back(HiddenInput("hidden" + number, part.layer, s));
      task.inputs.push_back(QuantizedInput("quantized" + number, part.layer, s));
      continue;
    }
    const std::string attend = AttendLabel(part.layer, s);
    task.inputs.push_back(FromTask("ffn_input" + number, ForwardLabel(part.layer, s), "ffn_input"));
    task.inputs.push_back(FromTask("quantized" + number, attend, "ffn_input"));
    if (part.kind == PartKind::kExperts)
      task.inputs.push_back(FromTask("routing" + number, attend, "routing"));
  }
  return task;
}

// Half of a layer, which has a label of its own.
TaskDefinition StartHalf(const ResolvedJob& job, int layer, const char* half) {
  nlohmann::json params = ModelParams(job);
  params["layer"] = layer;
  params["half"] = half;
  AddTaskParams(job.spec, kForwardTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kForward, {.layer = layer}, params);
  task.work /= 2;
  return task;
}

TaskDefinition AttendTask(const ResolvedJob& job, const Part& attention, int shard) {
  const int layer = attention.layer;
  TaskDefinition task = StartHalf(job, layer, "attention");
  task.label = AttendLabel(layer, shard);
  task.inputs = {QuantizedInput("hidden", layer, shard), FromTask("plan.0", ReSolveLabel(attention), "plan")};
  return task;
}

TaskDefinition FeedTask(const ResolvedJob& job, const std::vector<Part>& parts, int shard) {
  const int layer = parts.front().layer;
  const std::string attend = AttendLabel(layer, shard);
  TaskDefinition task = StartHalf(job, layer, "feed_forward");
  task.label = FeedLabel(layer, shard);
  task.inputs = {FromTask("middle", attend, "middle"), FromTask("ffn_input", attend, "ffn_input")};
  if (job.model.layers[static_cast<size_t>(layer)].moe) {
    task.inputs.push_back(FromTask("routing", attend, "routing"));
  }
  for (const Part& part : parts) {
    if (part.kind == PartKind::kAttention) continue;
    task.inputs.push_back(FromTask(absl::StrCat("plan.", part.index), ReSolveLabel(part), "plan"));
  }
  return task;
}

TaskDefinition AssembleTask(const ResolvedJob& job) {
  nlohmann::json params = nlohmann::json::object();
  AddTaskParams(job.spec, kAssembleTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kAssemble, {}, params);
  task.inputs.push_back(ChosenPlan(job));
  for (const Part& part : job.parts) {
    task.inputs.push_back(
        FromTask(absl::StrCat("resolved.", part.layer, ".", part.index), ReSolveLabel(part), "plan"));
  }
  return task;
}

}  // namespace

bool SolvesAgain(const ResolvedJob& job) { return job.spec.gptq.propagation == Propagation::kQuantized; }

std::vector<TaskDefinition> QuantizedPassTasks(const ResolvedJob& job, int shards) {
  std::vector<std::vector<Part>> layers(static_cast<size_t>(job.model.num_layers()));
  for (const Part& part : job.parts) layers[static_cast<size_t>(part.layer)].push_back(part);
  std::vector<TaskDefinition> tasks;
  for (const std::vector<Part>& parts : layers) {
    tasks.push_back(PlanReSolve(job, parts.front(), shards));
    for (int s = 0; s < shards; ++s) tasks.push_back(AttendTask(job, parts.front(), s));
    for (size_t p = 1; p < parts.size(); ++p) tasks.push_back(PlanReSolve(job, parts[p], shards));
    // Nothing reads what the last layer gives.
    if (&parts == &layers.back()) break;
    for (int s = 0; s < shards; ++s) tasks.push_back(FeedTask(job, parts, s));
  }
  tasks.push_back(AssembleTask(job));
  return tasks;
}

}  // namespace quantmoe
