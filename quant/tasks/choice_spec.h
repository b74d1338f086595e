// The part of a job's spec that the tasks which choose widths (allocate, refine) get as parameters.
#pragma once

#include "absl/status/statusor.h"

#include "plan/job/job_spec.h"
#include "quant/tasks/arguments.h"

namespace quantmoe {

// Reads budget, width rules, heuristic with its parameters, profile, group size and the largest share of
// fallbacks. The other fields keep their defaults. INVALID_ARGUMENT names a parameter that is missing.
absl::StatusOr<JobSpec> ReadChoiceSpec(const TaskArguments& arguments);

}  // namespace quantmoe
