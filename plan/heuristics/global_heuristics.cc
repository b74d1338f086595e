#include "plan/heuristics/global_heuristics.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"

#include "plan/allocate/loss.h"
#include "plan/allocate/rank_knapsack.h"
#include "plan/allocate/robust_knapsack.h"
#include "plan/heuristics/fill_rule.h"

namespace quantmoe {
namespace {

// How much the worst windows weigh against the mean of all.
double TailWeightOf(const AllocationProblem& problem) {
  const auto asked = problem.params.find("tail");
  double weight = 0;
  return asked != problem.params.end() && absl::SimpleAtod(asked->second, &weight) ? weight : 0;
}

// Windows in which the losses of the problem are known; 0 where there is but their sum.
size_t WindowsOf(const AllocationProblem& problem) {
  if (problem.objective != Objective::kMeasured || problem.ranks > 1) return 0;
  size_t windows = 0;
  for (const TableRow& row : problem.rows) windows = std::max(windows, row.part->window_scales.size());
  return windows;
}

RobustProblem RobustOf(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                       size_t windows) {
  RobustProblem robust;
  robust.capacity = problem.capacity;
  robust.tail.weight = TailWeightOf(problem);
  robust.base_losses.assign(windows, 0);
  for (const ChoiceGroup& group : groups) {
    RobustGroup& options = robust.groups.emplace_back();
    for (size_t i = 0; i < group.widths.size(); ++i) {
      RobustOption& option =
          options.emplace_back(RobustOption{group.options[i].cost, std::vector<double>(windows)});
      for (const size_t r : group.rows) AddWindowLosses(problem.rows[r], group.widths[i], option.losses);
    }
  }
  return robust;
}

// A round is a knapsack and a pass over all losses: minutes for 50,000 linears, of which the first rounds do
// nearly all.
RobustLimits LimitsOf(const RobustProblem& problem) {
  constexpr size_t kMany = 1'000'000;
  RobustLimits limits;
  if (problem.groups.size() * problem.base_losses.size() > kMany) limits.rounds = 60;
  return limits;
}

}  // namespace

Allocation Optimal(const AllocationProblem& problem) {
  Allocation additive = OptimalAdditive(problem);
  const size_t windows = WindowsOf(problem);
  if (windows < 2 || TailWeightOf(problem) == 0 || !additive.feasible) return additive;
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  RobustProblem robust = RobustOf(problem, groups, windows);
  const RobustLimits limits = LimitsOf(robust);
  const std::optional<RobustSolution> solution = SolveRobustKnapsack(std::move(robust), limits);
  if (!solution) return {};
  Allocation allocation = Spread(problem, groups, solution->choice);
  allocation.lower_bound = additive.lower_bound;
  allocation.risk = {solution->objective, solution->mean, solution->cvar, solution->lower_bound,
                     static_cast<int>(windows)};
  return allocation;
}

Allocation OptimalAdditive(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  std::vector<RankGroup> items;
  for (const ChoiceGroup& group : groups) items.push_back({group.rank, group.options});
  const std::optional<KnapsackSolution> solution = SolveRankKnapsack(items, problem.ranks, problem.capacity);
  if (!solution) return {};
  Allocation allocation = Spread(problem, groups, solution->choice);
  allocation.lower_bound = solution->lower_bound;
  return allocation;
}

Allocation Uniform(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  for (auto width = problem.widths.rbegin(); width != problem.widths.rend(); ++width) {
    std::vector<int64_t> left(static_cast<size_t>(problem.ranks), problem.capacity);
    std::vector<int> choice;
    for (const ChoiceGroup& group : groups) {
      choice.push_back(group.LevelFor(*width));
      for (size_t r = 0; r < left.size(); ++r) {
        const bool pays = group.rank == kEveryRank || group.rank == static_cast<int>(r);
        if (pays) left[r] -= group.options[static_cast<size_t>(choice.back())].cost;
      }
    }
    const bool fits = std::all_of(left.begin(), left.end(), [](int64_t rest) { return rest >= 0; });
    if (fits) return Spread(problem, groups, choice);
  }
  return {};
}

Allocation LayersInOrder(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  std::vector<RaiseUnit> order;
  for (size_t g = 0; g < groups.size(); ++g) order.push_back({{g}, problem.widths.front()});
  return Fill(problem, groups, order, /*open=*/true);
}

}  // namespace quantmoe
