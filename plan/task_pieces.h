// What the planners of tasks share: labels, inputs and parameters.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "plan/job_spec.h"
#include "plan/task_graph.h"

namespace quantmoe {

// Parameters of every task that opens the model: where it is, and which content the result belongs to.
nlohmann::json ModelParams(const ResolvedJob& job);
// Parameters of the solver for one part.
nlohmann::json SolveParams(const ResolvedJob& job, const Part& part);

TaskInput FromBlob(std::string role, const Digest& blob);
TaskInput FromTask(std::string role, std::string producer, std::string producer_role);

std::string ForwardLabel(int layer, int shard);
std::string SolveLabel(const Part& part);
std::string EvaluateLabel(absl::string_view weights, int shard);

// The hidden states that enter a layer of the original model.
TaskInput HiddenInput(std::string role, int layer, int shard);

}  // namespace quantmoe
