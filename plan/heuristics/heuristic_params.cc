#include "plan/heuristics/heuristic_params.h"

#include "absl/strings/numbers.h"

namespace quantmoe {

std::optional<int> IntParam(const AllocationProblem& problem, const char* name) {
  const auto found = problem.params.find(name);
  int value = 0;
  if (found == problem.params.end() || !absl::SimpleAtoi(found->second, &value)) return std::nullopt;
  return value;
}

std::string TextParam(const AllocationProblem& problem, const char* name, const char* fallback) {
  const auto found = problem.params.find(name);
  return found == problem.params.end() ? fallback : found->second;
}

}  // namespace quantmoe
