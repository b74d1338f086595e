// The knapsack of expert parallelism: some groups cost on every rank, the others on their own rank only, and
// no rank may exceed the capacity.
//
// Method: once the replicated groups have spent c, every rank is a knapsack of its own with what is left. The
// linear relaxations of all of them are convex in c, so the best c of the relaxation and its bound are found
// exactly; near it, exact knapsacks give solutions. With one rank this is SolveKnapsack.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "plan/allocate/knapsack.h"

namespace quantmoe {

struct RankGroup {
  int rank = -1;  // -1: costs on every rank
  KnapsackGroup options;
};

// `cost` of the result is that of the fullest rank; `exact` when the bound is met. Empty when even the
// cheapest options exceed the capacity of some rank. `max_states` as for SolveKnapsack, of each.
std::optional<KnapsackSolution> SolveRankKnapsack(const std::vector<RankGroup>& groups, int ranks,
                                                  int64_t capacity, int64_t max_states = kKnapsackStates);

}  // namespace quantmoe
