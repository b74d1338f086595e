// Heuristics that look at all linears at once instead of ranking units.
#pragma once

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

// With a parameter "tail" above 0, the least risk over the windows of the probes' sample
// (plan/allocate/robust_knapsack.h), with its bound. Without, where losses of windows were not measured, and
// for budgets of several ranks, as OptimalAdditive.
Allocation Optimal(const AllocationProblem& problem);
// The least total loss, solved exactly; sets the lower bound.
Allocation OptimalAdditive(const AllocationProblem& problem);
// The largest width that fits for all. Linears that may not have it keep the nearest one below, or their
// smallest.
Allocation Uniform(const AllocationProblem& problem);
// One width for all as far as it goes, and the next one for the first layers.
Allocation LayersInOrder(const AllocationProblem& problem);

}  // namespace quantmoe
