// One heuristic within one budget, whatever the budget's unit.
#pragma once

#include <vector>

#include "plan/allocate/allocation_problem.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/super_experts.h"
#include "plan/allocate/weight_file_sizes.h"
#include "plan/heuristics/heuristic.h"

namespace quantmoe {

struct AllocationInputs {
  std::vector<TableRow> rows;   // in canonical order
  std::vector<Linear> linears;  // of the rows
  const std::vector<TensorInfo>& kept;
  int group_size = 0;
  WeightFileSizes sizes;  // of linears and kept
  std::vector<SuperExpert> super_experts = {};
};

// Fills in cost, capacity and ranks of `problem` and runs the heuristic. The budget must have passed
// CheckBudget, so the result is feasible.
Allocation AllocateWithin(const Budget& budget, const Heuristic& heuristic, const AllocationInputs& inputs,
                          AllocationProblem problem);

// For budgets in average or stored bits and in bytes per rank: cost and capacity. For bytes of files: the
// part of the size that the widths decide, up to some digits of headers.
void SetCosts(const Budget& budget, const AllocationInputs& inputs, AllocationProblem& problem);

}  // namespace quantmoe
