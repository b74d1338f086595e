// Whether a heuristic can be run: its name, its parameters, and what it ranks by.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

#include "base/error_info.h"
#include "plan/allocate/allocation_problem.h"
#include "plan/heuristics/heuristic.h"

namespace quantmoe {

// Violations of name and parameters; `widths` are the candidates.
std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic, const HeuristicParams& params,
                                           const std::vector<int>& widths);

// FAILED_PRECONDITION STATISTICS_MISSING {heuristic, statistic} when the table was made by a program that did
// not measure what the heuristic ranks by.
absl::Status CheckStatistics(const Heuristic& heuristic, const AllocationProblem& problem);

}  // namespace quantmoe
