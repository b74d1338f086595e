// The one rule by which every ranking spends a budget.
#pragma once

#include <vector>

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

// What is raised as a whole: an expert, a linear, a block.
struct RaiseUnit {
  std::vector<size_t> groups;
  int width = 0;  // what it is raised to, as far as rules allow
};

// Every group starts at its smallest width. Walks the units in order and raises each that still fits, past
// those that do not. When all were raised and `open`, they are raised in further walks to each larger
// candidate.
Allocation Fill(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                const std::vector<RaiseUnit>& ranking, bool open);

}  // namespace quantmoe
