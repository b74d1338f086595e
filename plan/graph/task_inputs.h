// What a task of each kind is told and what it reads: its parameters, which with the digests of its inputs
// decide its result, and its inputs by role (docs/formats.md, section 7). The table of kinds points here.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "plan/graph/task_definition.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

nlohmann::json PrepareParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> PrepareInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json ForwardParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> ForwardInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json SolveParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> SolveInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json ProbeParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> ProbeInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json PredictParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> PredictInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json AllocateParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> AllocateInputs(const ResolvedJob& job, const TaskPlace& place);

// The number of rounds is not part of it: a job with more rounds goes on where another one ended.
nlohmann::json VerdictParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> VerdictInputs(const ResolvedJob& job, const TaskPlace& place);
nlohmann::json RefineParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> RefineInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json ReSolveParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> ReSolveInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json AssembleParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> AssembleInputs(const ResolvedJob& job, const TaskPlace& place);

nlohmann::json EvaluateParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> EvaluateInputs(const ResolvedJob& job, const TaskPlace& place);

// The artifact must not depend on where the model was, so its spec has no URI and the model is named by its
// digest.
nlohmann::json PublishParams(const ResolvedJob& job, const TaskPlace& place);
std::vector<TaskInput> PublishInputs(const ResolvedJob& job, const TaskPlace& place);

}  // namespace quantmoe
