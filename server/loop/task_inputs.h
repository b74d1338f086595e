// From planned tasks to rows, and from rows to the concrete inputs and the key of a task. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_graph.h"
#include "server/facts/job_table.h"

namespace quantmoe {

v1::Digest ToProto(const Digest& digest);
Digest FromProto(const v1::Digest& digest);

server::TaskDefinition DefineTask(const PlannedTask& task);

// The output of a task; null when it has none of this role.
const v1::Digest* FindOutput(const Task& task, absl::string_view role);

// Inputs with all producers' outputs filled in; every producer must be DONE. INTERNAL MISSING_OUTPUT names
// task and role.
absl::StatusOr<std::vector<v1::TaskBlob>> ResolveInputs(const Job& job, const Task& task);

// The task's key in the determinism class of its job.
std::string KeyOf(const Job& job, const Task& task, const std::vector<v1::TaskBlob>& inputs);

}  // namespace quantmoe
