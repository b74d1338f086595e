// The heuristics that turn statistics and a budget into widths. All work on groups of linears that share one
// width, so a runtime profile constrains every heuristic alike; rankings spend by one rule (fill_rule.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "base/error_info.h"
#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

// `heuristic` and the parameters must have passed CheckHeuristic. Infeasible when the smallest widths exceed
// the capacity.
Allocation RunHeuristic(const std::string& heuristic, const AllocationProblem& problem);

// Violations of name and parameters; `widths` are the candidates.
std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic,
                                           const std::map<std::string, std::string>& params,
                                           const std::vector<int>& widths);

// Whether blocks are ranked by the trained predictor, which needs `predict` tasks.
bool PredictsImportance(const std::string& heuristic, const std::map<std::string, std::string>& params);

// FAILED_PRECONDITION STATISTICS_MISSING {heuristic, statistic} when the table was made by a program that did
// not measure what the heuristic ranks by.
absl::Status CheckStatistics(const std::string& heuristic, const AllocationProblem& problem);

}  // namespace quantmoe
