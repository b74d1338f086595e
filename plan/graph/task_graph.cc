#include "plan/graph/task_graph.h"

#include "base/json_number.h"
#include "base/status_macros.h"
#include "plan/graph/graph_shape.h"
#include "plan/graph/quantized_pass.h"
#include "plan/graph/search_rounds.h"
#include "plan/graph/task_kinds.h"
#include "plan/model/json_codec.h"
#include "storage/mapped_reads.h"

namespace quantmoe {
using nlohmann::json;

std::string PrepareSummaryToJson(const PrepareSummary& summary) {
  return json{{"calibration_shards", summary.calibration_shards},
              {"calibration_tokens", summary.calibration_tokens},
              {"evaluation_shards", summary.evaluation_shards},
              {"evaluation_tokens", summary.evaluation_tokens},
              {"samples_apart", summary.samples_apart}}
      .dump();
}

absl::StatusOr<PrepareSummary> PrepareSummaryFromJson(absl::string_view text) {
  return DecodeJson<PrepareSummary>(text, "prepare summary", [](const json& value) {
    return PrepareSummary{
        IntegerAt<int>(value, "calibration_shards"), IntegerAt<int64_t>(value, "calibration_tokens"),
        IntegerAt<int>(value, "evaluation_shards"), IntegerAt<int64_t>(value, "evaluation_tokens"),
        value.at("samples_apart").get<bool>()};
  });
}

absl::StatusOr<PrepareSummary> ReadPrepareSummary(BlobStore& blobs, const Digest& summary) {
  ASSIGN_OR_RETURN(const MappedFile file, blobs.Open(summary));
  absl::StatusOr<PrepareSummary> parsed = PrepareSummaryFromJson(file.bytes());
  RETURN_IF_ERROR(CheckMappedRead(file.bytes()));
  return parsed;
}

TaskDefinition PrepareTask(const ResolvedJob& job) { return MakeTask(job, TaskKind::kPrepare, {}); }

namespace {

// A first task chooses where the search starts; every round probes around the best plan, and takes a step.
void AddSearch(const ResolvedJob& job, int rounds, int shards, std::vector<TaskDefinition>& tasks) {
  tasks.push_back(MakeTask(job, TaskKind::kRefine, {.number = 0}));
  for (int round = 1; round <= rounds; ++round) {
    for (int l = 0; l < job.model.num_layers(); ++l)
      tasks.push_back(MakeTask(job, TaskKind::kProbe, {.layer = l, .number = round, .shards = shards}));
    tasks.push_back(MakeTask(job, TaskKind::kRefine, {.number = round}));
  }
}

}  // namespace

std::vector<TaskDefinition> TasksAfterPrepare(const ResolvedJob& job, const PrepareSummary& summary) {
  const int shards = summary.calibration_shards;
  const int evaluation_shards = job.spec.evaluation.skip ? 0 : summary.evaluation_shards;
  std::vector<TaskDefinition> tasks;
  const auto add = [&](TaskKind kind, const TaskPlace& place) {
    tasks.push_back(MakeTask(job, kind, place));
  };
  const auto evaluate = [&](absl::string_view weights) {
    for (int i = 0; i < evaluation_shards; ++i) add(TaskKind::kEvaluate, {.number = i, .weights = weights});
  };

  const int rounds = SearchRounds(job);
  for (int l = 0; l < job.model.num_layers(); ++l) {
    for (int s = 0; s < shards; ++s) add(TaskKind::kForward, {.layer = l, .number = s});
    if ((WeighsBySensitivity(job) || rounds > 0))
      add(TaskKind::kForward, {.layer = l, .number = shards, .sample = true});
  }
  for (const Part& part : job.parts) add(TaskKind::kSolve, {.part = &part, .shards = shards});
  evaluate("original");
  for (int l = 0; WeighsBySensitivity(job) && l < job.model.num_layers(); ++l)
    add(TaskKind::kProbe, {.layer = l, .shards = shards});
  for (const int l : PredictedLayers(job)) add(TaskKind::kPredict, {.layer = l, .shards = shards});
  add(TaskKind::kAllocate, {.shards = shards});
  if (rounds > 0) AddSearch(job, rounds, shards, tasks);
  if (HasVerdict(job)) add(TaskKind::kVerdict, {});
  if (SolvesAgain(job)) AddQuantizedPass(job, shards, tasks);
  evaluate("planned");
  if (HasReference(job)) evaluate("reference");
  add(TaskKind::kPublish, {.shards = evaluation_shards});
  return tasks;
}

}  // namespace quantmoe
