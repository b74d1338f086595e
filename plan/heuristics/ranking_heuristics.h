// Heuristics that rank units (linears, experts, blocks) and spend the budget by one rule (fill_rule.h).
// QuantMoE-Bench (arXiv 2406.08155, section 3) names them; docs/heuristics.md says which script does what.
#pragma once

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

Allocation AttentionFirst(const AllocationProblem& problem);
Allocation SharedFirst(const AllocationProblem& problem);
Allocation ExpertFrequency(const AllocationProblem& problem);
Allocation RouterWeight(const AllocationProblem& problem);
Allocation Wanda(const AllocationProblem& problem);
Allocation FirstBlocks(const AllocationProblem& problem);
Allocation LastBlocks(const AllocationProblem& problem);
Allocation BlockImportance(const AllocationProblem& problem);
Allocation Outlier(const AllocationProblem& problem);
Allocation Combined(const AllocationProblem& problem);
Allocation OneProjection(const AllocationProblem& problem);
Allocation RandomOrder(const AllocationProblem& problem);

}  // namespace quantmoe
