#include "plan/allocate/allocation_problem.h"

namespace quantmoe {
namespace {

// One rank when all rows are on it. Rows of several ranks are a whole layer's experts, which every rank has
// equally many of, so each pays its share.
int RankOf(const AllocationProblem& problem, const std::vector<size_t>& rows) {
  const int first = problem.rank_of(problem.rows[rows.front()].row->linear);
  for (size_t r : rows) {
    if (problem.rank_of(problem.rows[r].row->linear) != first) return kEveryRank;
  }
  return first;
}

KnapsackOption OptionOf(const AllocationProblem& problem, const ChoiceGroup& group, int width) {
  KnapsackOption option;
  int64_t spread = 0;
  for (size_t r : group.rows) {
    const Linear& linear = problem.rows[r].row->linear;
    const bool shared_out = group.rank == kEveryRank && problem.rank_of(linear) != kEveryRank;
    (shared_out ? spread : option.cost) += problem.cost(linear, width);
    option.value += Loss(problem.rows[r], width, problem.objective);
  }
  option.cost += spread / problem.ranks;
  return option;
}

}  // namespace

int ChoiceGroup::LevelFor(int wanted) const {
  int level = 0;
  while (level + 1 < static_cast<int>(widths.size()) && widths[static_cast<size_t>(level) + 1] <= wanted)
    ++level;
  return level;
}

std::vector<ChoiceGroup> MakeGroups(const AllocationProblem& problem, Grain grain) {
  std::vector<ChoiceGroup> groups;
  for (const std::vector<size_t>& rows : GroupRows(problem.rows, *problem.profile, grain)) {
    // Rules may part the linears of an expert.
    std::map<std::vector<int>, size_t> by_widths;
    for (size_t r : rows) {
      const auto [at, added] = by_widths.try_emplace(problem.allowed[r], groups.size());
      if (added) groups.push_back({{}, kEveryRank, problem.allowed[r], {}});
      groups[at->second].rows.push_back(r);
    }
  }
  for (ChoiceGroup& group : groups) {
    group.rank = RankOf(problem, group.rows);
    for (int width : group.widths) group.options.push_back(OptionOf(problem, group, width));
  }
  return groups;
}

Allocation Spread(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                  const std::vector<int>& choice) {
  Allocation allocation;
  allocation.feasible = true;
  allocation.widths.resize(problem.rows.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t r : groups[g].rows) allocation.widths[r] = groups[g].widths[static_cast<size_t>(choice[g])];
  }
  return allocation;
}

}  // namespace quantmoe
