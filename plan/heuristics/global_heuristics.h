// Heuristics that look at all linears at once instead of ranking units.
#pragma once

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

// The least risk over the windows of the probes' sample (plan/allocate/robust_knapsack.h), with its bound; as
// OptimalAdditive where losses of windows were not measured, and for budgets of several ranks.
Allocation Optimal(const AllocationProblem& problem);
// The least total loss, solved exactly; sets the lower bound.
Allocation OptimalAdditive(const AllocationProblem& problem);
// The largest width that fits for all. Linears that may not have it keep the nearest one below, or their
// smallest.
Allocation Uniform(const AllocationProblem& problem);
// One width for all as far as it goes, and the next one for the first layers.
Allocation LayersInOrder(const AllocationProblem& problem);

}  // namespace quantmoe
