// What each kind of task is, as records in one table: its name in views and metrics, what outlives the job,
// its label, and what it takes. A kind is found by its name once (ParseTaskKind), where a name enters.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include <nlohmann/json.hpp>

#include "plan/graph/task_definition.h"
#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// The members that are references must be there, or the record does not compile.
struct TaskKindRecord {
  TaskKind kind;
  absl::string_view name;
  // Roles of outputs that outlive the job, with spaces between; "*": all.
  absl::string_view kept;
  std::string (&label)(const TaskPlace& place);
  nlohmann::json (&params)(const ResolvedJob& job, const TaskPlace& place);
  std::vector<TaskInput> (&inputs)(const ResolvedJob& job, const TaskPlace& place);
  // Upper estimate of the bytes that it holds at once.
  int64_t (&memory)(const ResolvedJob& job, const TaskPlace& place);
  // Multiplications (plan/graph/task_work.h).
  double (&work)(const ResolvedJob& job, const TaskPlace& place);
};

// In the order of the enumeration, which is that of a job.
const TaskKindRecord& RecordOf(TaskKind kind);

// A task, from all that its record says of it.
TaskDefinition MakeTask(const ResolvedJob& job, TaskKind kind, const TaskPlace& place);

}  // namespace quantmoe
