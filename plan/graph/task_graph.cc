#include "plan/graph/task_graph.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/json_number.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "plan/graph/quantized_pass.h"
#include "plan/graph/task_kinds.h"
#include "plan/heuristics/global_heuristics.h"
#include "plan/model/json_codec.h"
#include "plan/options/spec_json.h"
#include "storage/mapped_reads.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// Of the task that a layer has one of.
std::string LabelOf(TaskKind kind, int layer) { return RecordOf(kind).label({.layer = layer}); }

TaskDefinition ForwardTask(const ResolvedJob& job, int layer, int shard) {
  json params = ModelParams(job);
  params["layer"] = layer;
  AddTaskParams(job.spec, kForwardTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kForward, {.layer = layer, .number = shard}, params);
  task.inputs.push_back(HiddenInput("hidden", layer, shard));
  return task;
}

TaskDefinition SolveTask(const ResolvedJob& job, const Part& part, int shards) {
  TaskDefinition task =
      StartTask(job, TaskKind::kSolve, {.part = &part, .shards = shards}, SolveParams(job, part));
  for (int s = 0; s < shards; ++s) {
    if (part.kind == PartKind::kAttention) {
      task.inputs.push_back(HiddenInput(absl::StrCat("hidden.", s), part.layer, s));
      continue;
    }
    const std::string forward = ForwardLabel(part.layer, s);
    task.inputs.push_back(FromTask(absl::StrCat("ffn_input.", s), forward, "ffn_input"));
    if (part.kind == PartKind::kExperts) {
      task.inputs.push_back(FromTask(absl::StrCat("routing.", s), forward, "routing"));
    }
  }
  return task;
}

// Shards whose first sequences a probe looks at: spread over the text, because texts change on the way.
constexpr int kProbedShards = 4;

TaskDefinition ProbeTask(const ResolvedJob& job, int layer, int shards) {
  json params = ModelParams(job);
  params["layer"] = layer;
  AddTaskParams(job.spec, kProbeTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kProbe, {.layer = layer}, params);
  const int probed = std::min(shards, kProbedShards);
  for (int i = 0; i < probed; ++i) {
    task.inputs.push_back(HiddenInput(absl::StrCat("hidden.", i), layer, i * shards / probed));
  }
  for (const Part& part : job.parts) {
    if (part.layer != layer) continue;
    task.inputs.push_back(FromTask(absl::StrCat("table.", part.index), SolveLabel(part), "table"));
  }
  return task;
}

bool WeighsBySensitivity(const ResolvedJob& job) {
  return HeuristicOf(job.spec).Needs(Statistic::kSensitivity, job.spec.heuristic_params);
}

// Whether the plan is measured against the uniform plan of the same budget. Behind a second pass it would not
// be: the uniform plan has only the tensors of the first.
bool HasReference(const ResolvedJob& job) {
  const bool uniform = HeuristicOf(job.spec).run == Uniform && job.spec.refinement.rounds == 0;
  return !uniform && !job.spec.evaluation.skip && !SolvesAgain(job);
}

// MoE layers whose importance a trained network estimates.
std::vector<int> PredictedLayers(const ResolvedJob& job) {
  std::vector<int> layers;
  if (!HeuristicOf(job.spec).Needs(Statistic::kPredictedCosine, job.spec.heuristic_params)) return layers;
  for (int l = 0; l < job.model.num_layers(); ++l) {
    if (job.model.layers[static_cast<size_t>(l)].moe) layers.push_back(l);
  }
  return layers;
}

// As published, unless fewer are asked.
int PredictorEpochs(const std::map<std::string, std::string>& params) {
  const auto asked = params.find("epochs");
  int epochs = 100;
  if (asked != params.end() && absl::SimpleAtoi(asked->second, &epochs)) return std::max(epochs, 1);
  return 100;
}

TaskDefinition PredictTask(const ResolvedJob& job, int layer, int shards) {
  json params = ModelParams(job);
  params["layer"] = layer;
  AddTaskParams(job.spec, kPredictTasks, params);
  params["epochs"] = PredictorEpochs(job.spec.heuristic_params);
  TaskDefinition task = StartTask(job, TaskKind::kPredict, {.layer = layer, .shards = shards}, params);
  for (int s = 0; s < shards; ++s) {
    const std::string forward = ForwardLabel(layer, s), number = absl::StrCat(".", s);
    task.inputs.push_back(FromTask("ffn_input" + number, forward, "ffn_input"));
    task.inputs.push_back(FromTask("routing" + number, forward, "routing"));
  }
  return task;
}

// What the choice of widths depends on beside the table.
json ChoiceParams(const ResolvedJob& job) {
  json params = ModelParams(job);
  AddTaskParams(job.spec, kChoiceTasks, params);
  return params;
}

TaskDefinition AllocateTask(const ResolvedJob& job, int shards) {
  json params = ChoiceParams(job);
  params["reference"] = HasReference(job);
  TaskDefinition task = StartTask(job, TaskKind::kAllocate, {}, params);
  for (const Part& part : job.parts) {
    task.inputs.push_back(
        FromTask(absl::StrCat("table.", part.layer, ".", part.index), SolveLabel(part), "table"));
  }
  for (int l = 0; WeighsBySensitivity(job) && l < job.model.num_layers(); ++l) {
    task.inputs.push_back(
        FromTask(absl::StrCat("sensitivity.", l), LabelOf(TaskKind::kProbe, l), "sensitivity"));
  }
  for (const int l : PredictedLayers(job)) {
    task.inputs.push_back(
        FromTask(absl::StrCat("importance.", l), LabelOf(TaskKind::kPredict, l), "importance"));
  }
  for (int l = 0; l < job.model.num_layers(); ++l) {
    for (int s = 0; job.model.layers[l].moe && s < shards; ++s) {
      task.inputs.push_back(FromTask(absl::StrCat("counts.", l, ".", s), ForwardLabel(l, s), "counts"));
    }
  }
  return task;
}

// The number of rounds is not part of it: a job with more rounds goes on where another one ended.
TaskDefinition RefineTask(const ResolvedJob& job, int round) {
  json params = ChoiceParams(job);
  params["round"] = round;
  AddTaskParams(job.spec, kRefineTasks, params);
  TaskDefinition task = StartTask(job, TaskKind::kRefine, {.number = round}, params);
  task.inputs.push_back(FromTask("plan", ChosenPlanLabel(round - 1), "plan"));
  if (round > 1) task.inputs.push_back(FromTask("search", RefineLabel(round - 1), "search"));
  task.inputs.push_back(FromTask("table", kAllocateLabel, "table"));
  task.inputs.push_back(FromTask("heldout", kPrepareLabel, "heldout"));
  return task;
}

// The plan with the tensors that are published.
TaskInput FinalPlan(const ResolvedJob& job) {
  return SolvesAgain(job) ? FromTask("plan", kAssembleLabel, "plan") : ChosenPlan(job);
}

TaskDefinition EvaluateTask(const ResolvedJob& job, const std::string& weights, int shard) {
  json params = ModelParams(job);
  params["weights"] = weights;
  TaskDefinition task = StartTask(job, TaskKind::kEvaluate, {.number = shard, .weights = weights}, params);
  task.inputs.push_back(FromTask("requests", kPrepareLabel, absl::StrCat("requests.", shard)));
  if (weights == "planned") task.inputs.push_back(FinalPlan(job));
  if (weights == "reference") task.inputs.push_back(FromTask("plan", kAllocateLabel, "reference"));
  return task;
}

// The artifact must not depend on where the model was, so its spec has no URI and the model is named by its
// digest.
TaskDefinition PublishTask(const ResolvedJob& job, int evaluation_shards) {
  json params = ModelParams(job);
  params["model_digest"] = job.model_digest;
  params["files"] = job.files_fingerprint;
  params["spec"] = JobSpecJson(job.spec);
  params["spec"].erase("model_uri");
  params["version"] = std::string(kProgramVersion);
  TaskDefinition task = StartTask(job, TaskKind::kPublish, {}, params);
  task.inputs.push_back(FinalPlan(job));
  for (int i = 0; i < evaluation_shards; ++i) {
    task.inputs.push_back(
        FromTask(absl::StrCat("requests.", i), kPrepareLabel, absl::StrCat("requests.", i)));
    task.inputs.push_back(FromTask(absl::StrCat("original.", i), EvaluateLabel("original", i), "scores"));
    task.inputs.push_back(FromTask(absl::StrCat("planned.", i), EvaluateLabel("planned", i), "scores"));
    if (!HasReference(job)) continue;
    task.inputs.push_back(FromTask(absl::StrCat("reference.", i), EvaluateLabel("reference", i), "scores"));
  }
  if (HasReference(job) && evaluation_shards > 0) {
    task.inputs.push_back(FromTask("reference_plan", kAllocateLabel, "reference"));
  }
  return task;
}

}  // namespace

std::string PrepareSummaryToJson(const PrepareSummary& summary) {
  return json{{"calibration_shards", summary.calibration_shards},
              {"calibration_tokens", summary.calibration_tokens},
              {"evaluation_shards", summary.evaluation_shards},
              {"evaluation_tokens", summary.evaluation_tokens}}
      .dump();
}

absl::StatusOr<PrepareSummary> PrepareSummaryFromJson(absl::string_view text) {
  return DecodeJson<PrepareSummary>(text, "prepare summary", [](const json& value) {
    return PrepareSummary{
        IntegerAt<int>(value, "calibration_shards"), IntegerAt<int64_t>(value, "calibration_tokens"),
        IntegerAt<int>(value, "evaluation_shards"), IntegerAt<int64_t>(value, "evaluation_tokens")};
  });
}

absl::StatusOr<PrepareSummary> ReadPrepareSummary(BlobStore& blobs, const Digest& summary) {
  ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(summary));
  const absl::StatusOr<PrepareSummary> parsed = PrepareSummaryFromJson(file.bytes());
  RETURN_IF_ERROR(CheckMappedRead(file.bytes()));
  return parsed;
}

TaskDefinition PrepareTask(const ResolvedJob& job) {
  const CalibrationSpec& calibration = job.spec.calibration;
  const EvaluationSpec& evaluation = job.spec.evaluation;
  json params = ModelParams(job);
  AddTaskParams(job.spec, kPrepareTasks, params);
  params["files"] = job.files_fingerprint;
  params["tasks"] = json::array();
  if (job.spec.refinement.rounds > 0) {
    params["heldout_sequences"] = kHeldoutSequences;
    params["heldout_tokens"] = kHeldoutTokens;
  }
  std::vector<TaskInput> inputs = {FromBlob("calibration_text", calibration.text),
                                   FromBlob("perplexity_text", evaluation.perplexity_text)};
  for (const BenchmarkTaskSpec& benchmark : evaluation.tasks) {
    if (evaluation.skip) break;
    params["tasks"].push_back(benchmark.name);
    if (benchmark.limit > 0) params["limits"][benchmark.name] = benchmark.limit;
    inputs.push_back(FromBlob("task." + benchmark.name, benchmark.data));
    if (!benchmark.fewshot_data.sha256.empty()) {
      inputs.push_back(FromBlob("fewshot." + benchmark.name, benchmark.fewshot_data));
    }
  }
  TaskDefinition task = StartTask(job, TaskKind::kPrepare, {}, params);
  task.inputs = std::move(inputs);
  return task;
}

std::vector<TaskDefinition> TasksAfterPrepare(const ResolvedJob& job, const PrepareSummary& summary) {
  const int shards = summary.calibration_shards;
  const int evaluation_shards = job.spec.evaluation.skip ? 0 : summary.evaluation_shards;
  std::vector<TaskDefinition> tasks;
  for (int l = 0; l < job.model.num_layers(); ++l) {
    for (int s = 0; s < shards; ++s) tasks.push_back(ForwardTask(job, l, s));
  }
  for (const Part& part : job.parts) tasks.push_back(SolveTask(job, part, shards));
  for (int i = 0; i < evaluation_shards; ++i) tasks.push_back(EvaluateTask(job, "original", i));
  for (int l = 0; WeighsBySensitivity(job) && l < job.model.num_layers(); ++l)
    tasks.push_back(ProbeTask(job, l, shards));
  for (const int l : PredictedLayers(job)) tasks.push_back(PredictTask(job, l, shards));
  tasks.push_back(AllocateTask(job, shards));
  for (int r = 1; r <= job.spec.refinement.rounds; ++r) tasks.push_back(RefineTask(job, r));
  if (SolvesAgain(job)) {
    for (TaskDefinition& task : QuantizedPassTasks(job, shards)) tasks.push_back(std::move(task));
  }
  for (int i = 0; i < evaluation_shards; ++i) tasks.push_back(EvaluateTask(job, "planned", i));
  for (int i = 0; HasReference(job) && i < evaluation_shards; ++i) {
    tasks.push_back(EvaluateTask(job, "reference", i));
  }
  tasks.push_back(PublishTask(job, evaluation_shards));
  return tasks;
}

}  // namespace quantmoe
