// One task of a job before it runs, and what a task graph builds it from: labels, inputs and
// parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// An input of a task: a blob known now, or an output of another task of the job.
struct TaskInput {
  std::string role;
  Digest blob;                // when `producer` is empty
  std::string producer;       // label of a task
  std::string producer_role;  // which of its outputs
};

struct TaskDefinition {
  std::string
      label;  // unique in the job: "prepare", "forward-l3-s2", "solve-l3-p1", "evaluate-original-0", ...
  TaskKind kind = TaskKind::kPrepare;
  std::string params_json;  // canonical; with the inputs' digests it decides the result
  std::vector<TaskInput> inputs;
  int64_t memory_bytes = 0;  // upper estimate of what the task holds at once
  double work = 0;           // plan/graph/task_work.h
};

// The sample that refinement measures: sequences, the most tokens of each, and states of the model that a
// round keeps to start trials from.
inline constexpr int64_t kHeldoutSequences = 16;
inline constexpr int64_t kHeldoutTokens = 256;
inline constexpr int kRefinementStates = 8;
// Inner width of QuantMoE-Bench's block importance predictor.
inline constexpr int64_t kPredictorWidth = 1024;

// Parameters of every task that opens the model: where it is, and which content the result belongs to.
nlohmann::json ModelParams(const ResolvedJob& job);
// Parameters of the solver for one part.
nlohmann::json SolveParams(const ResolvedJob& job, const Part& part);

TaskInput FromBlob(std::string role, const Digest& blob);
TaskInput FromTask(std::string role, std::string producer, std::string producer_role);

// Tasks of which a job has one.
inline constexpr char kPrepareLabel[] = "prepare";
inline constexpr char kAllocateLabel[] = "allocate";
inline constexpr char kAssembleLabel[] = "assemble";
inline constexpr char kPublishLabel[] = "publish";
std::string ForwardLabel(int layer, int shard);
std::string SolveLabel(const Part& part);
std::string EvaluateLabel(absl::string_view weights, int shard);

std::string RefineLabel(int round);

// The task whose plan allocation and refinement chose, with the tensors of the first pass.
std::string ChosenPlanLabel(int refinement_rounds);
TaskInput ChosenPlan(const ResolvedJob& job);

// The hidden states that enter a layer of the original model.
TaskInput HiddenInput(std::string role, int layer, int shard);

}  // namespace quantmoe
