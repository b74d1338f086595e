// Values of a heuristic's parameters; they have passed CheckHeuristic.
#pragma once

#include <optional>
#include <string>

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

std::optional<int> IntParam(const AllocationProblem& problem, const char* name);
std::string TextParam(const AllocationProblem& problem, const char* name, const char* fallback);

}  // namespace quantmoe
