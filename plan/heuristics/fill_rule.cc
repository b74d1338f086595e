#include "plan/heuristics/fill_rule.h"

#include <algorithm>

namespace quantmoe {
namespace {

// What is spent, and what is left on each rank.
class Purse {
 public:
  Purse(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups)
      : groups_(groups),
        choice_(groups.size(), 0),
        left_(static_cast<size_t>(problem.ranks), problem.capacity) {
    for (const ChoiceGroup& group : groups) Pay(group.rank, group.options.front().cost, left_);
  }

  bool solvent() const { return IsSolvent(left_); }
  const std::vector<int>& choice() const { return choice_; }

  // All groups of the unit or none. True when they are at `width` or above afterwards.
  bool Raise(const RaiseUnit& unit, int width) {
    std::vector<int64_t> left = left_;
    for (size_t g : unit.groups) {
      const int to = groups_[g].LevelFor(width);
      if (to > choice_[g]) Pay(groups_[g].rank, CostOf(g, to) - CostOf(g, choice_[g]), left);
    }
    if (!IsSolvent(left)) return false;
    left_ = std::move(left);
    for (size_t g : unit.groups) choice_[g] = std::max(choice_[g], groups_[g].LevelFor(width));
    return true;
  }

 private:
  static bool IsSolvent(const std::vector<int64_t>& left) {
    return std::all_of(left.begin(), left.end(), [](int64_t rest) { return rest >= 0; });
  }
  static void Pay(int rank, int64_t cost, std::vector<int64_t>& left) {
    for (size_t r = 0; r < left.size(); ++r) {
      if (rank == kEveryRank || rank == static_cast<int>(r)) left[r] -= cost;
    }
  }
  int64_t CostOf(size_t group, int level) const {
    return groups_[group].options[static_cast<size_t>(level)].cost;
  }

  const std::vector<ChoiceGroup>& groups_;
  std::vector<int> choice_;
  std::vector<int64_t> left_;
};

}  // namespace

Allocation Fill(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                const std::vector<RaiseUnit>& ranking, bool open) {
  Purse purse(problem, groups);
  if (!purse.solvent()) return {};
  bool all = true;
  for (const RaiseUnit& unit : ranking) all = purse.Raise(unit, unit.width) && all;
  for (int width : problem.widths) {
    if (!open || !all) break;
    for (const RaiseUnit& unit : ranking) all = purse.Raise(unit, width) && all;
  }
  return Spread(problem, groups, purse.choice());
}

}  // namespace quantmoe
