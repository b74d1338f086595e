#include "plan/heuristics/protection.h"

#include <algorithm>

#include "plan/heuristics/global_heuristics.h"

namespace quantmoe {
namespace {

constexpr double kShareOfRoom = 0.1;

// Widths that the plan has without protection, from below.
std::vector<int> FloorOf(const Heuristic& heuristic, const AllocationProblem& problem) {
  if (heuristic.one_width) {
    if (Allocation uniform = Uniform(problem); uniform.feasible) return std::move(uniform.widths);
  }
  std::vector<int> smallest;
  for (const std::vector<int>& widths : problem.allowed) smallest.push_back(widths.front());
  return smallest;
}

}  // namespace

void Protect(const Budget& budget, const Heuristic& heuristic, const AllocationInputs& inputs,
             AllocationProblem& problem) {
  if (inputs.super_experts.empty()) return;
  AllocationProblem priced = problem;
  SetCosts(budget, inputs, priced);
  const std::vector<int> floor = FloorOf(heuristic, priced);
  auto room = static_cast<double>(priced.capacity * priced.ranks);
  for (size_t r = 0; r < floor.size(); ++r)
    room -= static_cast<double>(priced.cost(inputs.linears[r], floor[r]));
  if (!heuristic.one_width) room *= kShareOfRoom;
  for (auto width = problem.widths.rbegin(); width != problem.widths.rend(); ++width) {
    AllowedWidths raised =
        RaiseSuperExperts(inputs.linears, inputs.super_experts, *width, *problem.profile, problem.allowed);
    double extra = 0;
    for (size_t r = 0; r < floor.size(); ++r) {
      const Linear& linear = inputs.linears[r];
      extra += static_cast<double>(priced.cost(linear, std::max(floor[r], raised[r].front())) -
                                   priced.cost(linear, floor[r]));
    }
    if (extra > room) continue;
    problem.allowed = std::move(raised);
    return;
  }
}

}  // namespace quantmoe
