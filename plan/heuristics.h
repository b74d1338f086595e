// The heuristics that turn statistics and a budget into widths. All work on groups of linears that share one
// width, so a runtime profile constrains every heuristic alike.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/error_info.h"
#include "plan/choice_groups.h"
#include "plan/distortion_table.h"

namespace quantmoe {

struct AllocationProblem {
  std::vector<TableRow> rows;  // in canonical order
  std::string profile;
  std::vector<int> widths;  // candidates from the floor on, ascending
  std::function<int64_t(const Linear&, int bits)> cost;
  int64_t capacity = 0;  // in units of `cost`
  const std::vector<RoutingCounts>* routing = nullptr;
  std::map<std::string, std::string> params;
};

struct Allocation {
  bool feasible = false;
  std::vector<int> bits;   // of each row
  double lower_bound = 0;  // of the distortion of any plan within the capacity; 0: none given
};

// `heuristic` and the parameters must have passed CheckHeuristic.
Allocation RunHeuristic(const std::string& heuristic, const AllocationProblem& problem);

// Violations of name and parameters; `widths` are the candidates.
std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic,
                                           const std::map<std::string, std::string>& params,
                                           const std::vector<int>& widths);

}  // namespace quantmoe
