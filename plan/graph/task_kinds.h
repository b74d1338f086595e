// What each kind of task is, as records in one table: its name in views and metrics, what outlives the job,
// its label, and what it takes. A kind is found by its name once (ParseTaskKind), where a name enters.
#pragma once

#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include <nlohmann/json.hpp>

#include "plan/graph/task_definition.h"
#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// Which task of its kind one is, as far as label and cost depend on it.
struct TaskPlace {
  int layer = -1;
  const Part* part = nullptr;
  int number = 0;                  // shard of calibration or evaluation, or round of refinement
  int shards = 0;                  // of calibration, where the task reads all of them
  absl::string_view weights = "";  // that an evaluation scores
};

// The members that are references must be there, or the record does not compile.
struct TaskKindRecord {
  TaskKind kind;
  absl::string_view name;
  // Roles of outputs that outlive the job, with spaces between; "*": all.
  absl::string_view kept;
  std::string (&label)(const TaskPlace& place);
  // Upper estimate of the bytes that it holds at once.
  int64_t (&memory)(const ResolvedJob& job, const TaskPlace& place);
  // Multiplications (plan/graph/task_work.h).
  double (&work)(const ResolvedJob& job, const TaskPlace& place);
};

// In the order of the enumeration, which is that of a job.
const TaskKindRecord& RecordOf(TaskKind kind);

// A task with all that its record says of it, and without inputs.
TaskDefinition StartTask(const ResolvedJob& job, TaskKind kind, const TaskPlace& place,
                         const nlohmann::json& params);

}  // namespace quantmoe
