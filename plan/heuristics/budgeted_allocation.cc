#include "plan/heuristics/budgeted_allocation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "plan/allocate/artifact_size.h"
#include "plan/allocate/expert_ranks.h"

namespace quantmoe {
namespace {

constexpr int kMaxTightenings = 64;

std::vector<int> SmallestBits(const AllocationProblem& problem) {
  std::vector<int> lowest;
  for (const std::vector<int>& widths : problem.allowed) lowest.push_back(widths.front());
  return lowest;
}

int64_t CostOf(const AllocationInputs& inputs, const AllocationProblem& problem,
               const std::vector<int>& widths) {
  int64_t cost = 0;
  for (size_t r = 0; r < widths.size(); ++r) cost += problem.cost(inputs.linears[r], widths[r]);
  return cost;
}

// The same shapes come again and again.
std::function<int64_t(const Linear&, int)> Memoized(int64_t (*bytes)(const Linear&, int, int), int group_size,
                                                    int64_t factor) {
  using Key = std::tuple<int64_t, int64_t, int>;
  auto costs = std::make_shared<std::map<Key, int64_t>>();
  return [costs, bytes, group_size, factor](const Linear& linear, int width) {
    const auto [at, added] = costs->try_emplace({linear.out, linear.in, width}, 0);
    if (added) at->second = factor * bytes(linear, width, group_size);
    return at->second;
  };
}

// Bytes of the files that do not depend on the widths, from below: offsets in headers have fewer digits in
// smaller plans, padding takes at most 7 bytes, and when there are several files every offset may start again
// at one digit.
int64_t FixedBytes(const AllocationInputs& inputs, const AllocationProblem& problem, int64_t max_bytes) {
  const std::vector<int> smallest = SmallestBits(problem);
  const int64_t fixed = inputs.sizes.Bytes(smallest) - 8 - CostOf(inputs, problem, smallest);
  const int64_t tensors = static_cast<int64_t>(4 * inputs.linears.size() + inputs.kept.size());
  return max_bytes > kMaxWeightFileBytes ? fixed - 18 * tensors - 4096 : fixed;
}

void SetRankCosts(const RankBudget& budget, const AllocationInputs& inputs, AllocationProblem& problem) {
  const ExpertRanks ranks(inputs.linears, budget.ranks);
  problem.ranks = budget.ranks;
  problem.rank_of = [ranks](const Linear& linear) { return ranks.RankOf(linear); };
  problem.cost = Memoized(PackedBytes, inputs.group_size, 1);
  // What stays unquantized is the whole of a plan less its packed linears. Every rank has as many experts,
  // and so as much of it.
  const auto smallest = [&problem](const Linear&) { return problem.widths.front(); };
  problem.capacity =
      budget.max_bytes - (FullestRankBytes(inputs.linears, inputs.kept, smallest, inputs.group_size, ranks) -
                          FullestRankBytes(inputs.linears, {}, smallest, inputs.group_size, ranks));
}

// A budget in bytes is met by solving for the part that the widths decide, and, while the laid out files are
// too large by some digits of a header, solving again for that much less. The bound of the first solution
// holds for all.
Allocation AllocateBytes(int64_t max_bytes, const Heuristic& heuristic, const AllocationInputs& inputs,
                         AllocationProblem problem) {
  double lower_bound = 0, least_risk = 0;
  for (int i = 0; i < kMaxTightenings; ++i) {
    Allocation allocation = heuristic.run(problem);
    if (!allocation.feasible) break;
    if (i == 0) lower_bound = allocation.lower_bound;
    if (i == 0 && allocation.risk) least_risk = allocation.risk->lower_bound;
    const int64_t excess = inputs.sizes.Bytes(allocation.widths) - max_bytes;
    if (excess <= 0) {
      allocation.lower_bound = lower_bound;
      if (allocation.risk) allocation.risk->lower_bound = least_risk;
      return allocation;
    }
    problem.capacity = CostOf(inputs, problem, allocation.widths) - excess;
  }
  return {true, SmallestBits(problem), lower_bound};
}

}  // namespace

void SetCosts(const Budget& budget, const AllocationInputs& inputs, AllocationProblem& problem) {
  int64_t weights = 0;
  for (const Linear& linear : inputs.linears) weights += linear.weights();
  if (budget.rank_bytes) return SetRankCosts(*budget.rank_bytes, inputs, problem);
  if (budget.max_bytes) {
    problem.cost = Memoized(WidthBytes, inputs.group_size, 1);
    problem.capacity = *budget.max_bytes - FixedBytes(inputs, problem, *budget.max_bytes);
  } else if (budget.stored_bits) {
    problem.cost = Memoized(PackedBytes, inputs.group_size, 8);
    problem.capacity = AverageBitsCapacity(*budget.stored_bits, weights);
  } else {
    problem.cost = [](const Linear& linear, int width) { return width * linear.weights(); };
    problem.capacity = AverageBitsCapacity(budget.average_bits.value_or(0), weights);
  }
}

Allocation AllocateWithin(const Budget& budget, const Heuristic& heuristic, const AllocationInputs& inputs,
                          AllocationProblem problem) {
  SetCosts(budget, inputs, problem);
  return budget.max_bytes ? AllocateBytes(*budget.max_bytes, heuristic, inputs, std::move(problem))
                          : heuristic.run(problem);
}

}  // namespace quantmoe
