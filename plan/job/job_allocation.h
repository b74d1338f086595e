// The widths that a job's spec asks for, given what solving measured: the spec and the distortion table are
// checked against each other, made into an allocation problem, and its solution is written up as a plan.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

#include "plan/allocate/allocation_problem.h"
#include "plan/allocate/bit_plan.h"
#include "plan/heuristics/budgeted_allocation.h"
#include "plan/job/job_allocation.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// Applies `heuristic` under `budget` and the runtime profile. Deterministic.
// FAILED_PRECONDITION BIT_BUDGET_INFEASIBLE {minimum, maximum, asked}; INVALID_ARGUMENT INVALID_FIELD for an
// unknown heuristic or parameter and for rules that fit nothing; FAILED_PRECONDITION STATISTICS_MISSING when
// the table lacks what the heuristic ranks by; FAILED_PRECONDITION TOO_MANY_FALLBACKS when max_fallback_ratio
// is exceeded. `kept` are the tensors that stay unquantized, for the size in bytes.
absl::StatusOr<BitPlan> Allocate(const DistortionTable& table, const JobSpec& spec,
                                 const std::vector<TensorInfo>& kept);

// The same, with the same errors, for those who ask for many plans of one table; `inputs` by MakeInputs.
absl::StatusOr<BitPlan> Allocate(const DistortionTable& table, const JobSpec& spec,
                                 const AllocationInputs& inputs);

// FAILED_PRECONDITION TOO_MANY_FALLBACKS when more than the share `limit` of the linears was rounded to
// nearest.
absl::Status CheckFallbacks(double ratio, double limit);

// The steps of Allocate, for those who compare many plans of one table.
// Points into `table` and `kept`; of `spec` only the group size counts.
AllocationInputs MakeInputs(const DistortionTable& table, const JobSpec& spec,
                            const std::vector<TensorInfo>& kept);

// What there is to decide; cost and capacity are not filled in. Errors as of Allocate.
absl::StatusOr<AllocationProblem> MakeProblem(const DistortionTable& table, const JobSpec& spec,
                                              const AllocationInputs& inputs);

// The plan that gives each row of `inputs` the width of the same place in `widths`, with its figures; bounds
// are left 0.
BitPlan DescribePlan(const AllocationInputs& inputs, const JobSpec& spec, Objective objective,
                     const std::vector<int>& widths);

}  // namespace quantmoe
