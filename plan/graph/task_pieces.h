// What the planners of tasks share: labels, inputs and parameters.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "plan/graph/task_graph.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

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

std::string ForwardLabel(int layer, int shard);
std::string SolveLabel(const Part& part);
std::string EvaluateLabel(absl::string_view weights, int shard);

std::string RefineLabel(int round);

// The plan that allocation and refinement chose, with the tensors of the first pass.
TaskInput ChosenPlan(const ResolvedJob& job);

// The hidden states that enter a layer of the original model.
TaskInput HiddenInput(std::string role, int layer, int shard);

}  // namespace quantmoe
