// From a table and a spec to what a heuristic is asked, with every check of both.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

#include "plan/allocate/allocation_problem.h"
#include "plan/allocate/bit_plan.h"
#include "plan/heuristics/budgeted_allocation.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// Points into `table` and `kept`.
AllocationInputs MakeInputs(const DistortionTable& table, const JobSpec& spec,
                            const std::vector<TensorInfo>& kept);

// What there is to decide; cost and capacity are not filled in. Errors as of Allocate (bit_plan.h).
absl::StatusOr<AllocationProblem> MakeProblem(const DistortionTable& table, const JobSpec& spec,
                                              const AllocationInputs& inputs);

// The plan that gives each row of `inputs` the width of the same place in `bits`, with its figures; bounds
// are left 0.
BitPlan DescribePlan(const AllocationInputs& inputs, const JobSpec& spec, Objective objective,
                     const std::vector<int>& bits);

}  // namespace quantmoe
