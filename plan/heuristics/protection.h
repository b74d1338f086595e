// Super experts keep their down projections whole, whatever a heuristic thinks of them.
#pragma once

#include "plan/heuristics/budgeted_allocation.h"
#include "plan/heuristics/heuristic.h"
#include "plan/options/budget_spec.h"

namespace quantmoe {

// Takes from `problem` the widths below the largest one that the budget has room for, for these down
// projections of `inputs`: a tenth of what it leaves over the smallest plan, or, where the heuristic gives
// all linears one width, whatever that leaves.
void Protect(const Budget& budget, const Heuristic& heuristic, const AllocationInputs& inputs,
             AllocationProblem& problem);

}  // namespace quantmoe
