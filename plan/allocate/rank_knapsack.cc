#include "plan/allocate/rank_knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantmoe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Exact solutions are tried at this many replicated costs on either side of the relaxation's.
constexpr int kTriesEachSide = 8;

// Groups of one rank, or the replicated ones.
struct Side {
  std::vector<size_t> members;
  std::vector<KnapsackGroup> groups;
  std::vector<HullPoint> hull;

  int64_t least() const { return hull.front().cost; }

  // Value of the linear relaxation within `capacity`.
  double Relaxed(int64_t capacity) const {
    if (capacity < least()) return kInfinity;
    const auto above = std::upper_bound(hull.begin(), hull.end(), capacity,
                                        [](int64_t c, const HullPoint& point) { return c < point.cost; });
    const HullPoint& below = *(above - 1);
    if (above == hull.end()) return below.value;
    const double share =
        static_cast<double>(capacity - below.cost) / static_cast<double>(above->cost - below.cost);
    return below.value + share * (above->value - below.value);
  }
};

class Solver {
 public:
  Solver(const std::vector<RankGroup>& groups, int ranks, int64_t capacity, int64_t max_states)
      : capacity_(capacity), max_states_(max_states), sides_(static_cast<size_t>(ranks) + 1) {
    for (size_t g = 0; g < groups.size(); ++g) {
      Side& side = sides_[static_cast<size_t>(groups[g].rank + 1)];
      side.members.push_back(g);
      side.groups.push_back(groups[g].options);
    }
    for (Side& side : sides_) side.hull = KnapsackHull(side.groups);
    best_.choice.resize(groups.size());
    best_.value = kInfinity;
  }

  std::optional<KnapsackSolution> Solve() {
    int64_t dearest = 0;
    for (size_t s = 1; s < sides_.size(); ++s) dearest = std::max(dearest, sides_[s].least());
    if (sides_[0].least() + dearest > capacity_) return std::nullopt;
    const std::vector<int64_t> costs = ReplicatedCosts(capacity_ - dearest);
    const size_t middle = FindLeast(costs);
    const double bound = Relaxed(costs[middle]);
    const size_t first = middle > kTriesEachSide ? middle - kTriesEachSide : 0;
    for (size_t i = first; i < costs.size() && i <= middle + kTriesEachSide; ++i) Try(costs[i]);
    best_.lower_bound = std::min(bound, best_.value);
    best_.exact = best_.value - best_.lower_bound <= 1e-12 * std::abs(best_.value);
    return best_;
  }

 private:
  // Where the sum of the relaxations can bend, ascending.
  std::vector<int64_t> ReplicatedCosts(int64_t most) const {
    std::vector<int64_t> costs = {sides_[0].least(), most};
    for (const HullPoint& point : sides_[0].hull) costs.push_back(point.cost);
    for (size_t s = 1; s < sides_.size(); ++s) {
      for (const HullPoint& point : sides_[s].hull) costs.push_back(capacity_ - point.cost);
    }
    std::erase_if(costs, [&](int64_t cost) { return cost < sides_[0].least() || cost > most; });
    std::sort(costs.begin(), costs.end());
    costs.erase(std::unique(costs.begin(), costs.end()), costs.end());
    return costs;
  }

  double Relaxed(int64_t replicated) const {
    double value = sides_[0].Relaxed(replicated);
    for (size_t s = 1; s < sides_.size(); ++s) value += sides_[s].Relaxed(capacity_ - replicated);
    return value;
  }

  // The sum is convex, so it falls up to its least value and rises after it.
  size_t FindLeast(const std::vector<int64_t>& costs) const {
    size_t low = 0, high = costs.size() - 1;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (Relaxed(costs[middle]) <= Relaxed(costs[middle + 1])) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  void Try(int64_t replicated) {
    const auto shared = SolveKnapsack(sides_[0].groups, replicated, max_states_);
    if (!shared) return;
    std::vector<KnapsackSolution> parts = {*shared};
    double value = shared->value;
    int64_t fullest = 0;
    for (size_t s = 1; s < sides_.size(); ++s) {
      const auto own = SolveKnapsack(sides_[s].groups, capacity_ - shared->cost, max_states_);
      if (!own) return;
      value += own->value;
      fullest = std::max(fullest, own->cost);
      parts.push_back(*own);
    }
    if (!(value < best_.value)) return;
    best_.value = value;
    best_.cost = shared->cost + fullest;
    for (size_t s = 0; s < sides_.size(); ++s) {
      for (size_t i = 0; i < sides_[s].members.size(); ++i) {
        best_.choice[sides_[s].members[i]] = parts[s].choice[i];
      }
    }
  }

  const int64_t capacity_;
  const int64_t max_states_;
  std::vector<Side> sides_;  // replicated, then each rank
  KnapsackSolution best_;
};

}  // namespace

std::optional<KnapsackSolution> SolveRankKnapsack(const std::vector<RankGroup>& groups, int ranks,
                                                  int64_t capacity, int64_t max_states) {
  if (ranks > 1) return Solver(groups, ranks, capacity, max_states).Solve();
  std::vector<KnapsackGroup> all;
  for (const RankGroup& group : groups) all.push_back(group.options);
  return SolveKnapsack(all, capacity, max_states);
}

}  // namespace quantmoe
