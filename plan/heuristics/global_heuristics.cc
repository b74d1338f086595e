#include "plan/heuristics/global_heuristics.h"

#include <algorithm>
#include <optional>

#include "plan/allocate/rank_knapsack.h"
#include "plan/heuristics/fill_rule.h"

namespace quantmoe {

Allocation Optimal(const AllocationProblem& problem) {
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
