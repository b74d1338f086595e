// What the tasks that choose widths are told of the job's spec.
#pragma once

#include "absl/status/statusor.h"

#include "plan/job/job_spec.h"
#include "quant/tasks/arguments.h"

namespace quantmoe {

// Budget, rules, heuristic with parameters, profile, group size and the limit of fallbacks; the rest keeps
// its defaults. INVALID_ARGUMENT when one is missing.
absl::StatusOr<JobSpec> ReadChoiceSpec(const TaskArguments& arguments);

}  // namespace quantmoe
