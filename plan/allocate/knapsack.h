// The multiple-choice knapsack: one option of every group, least sum of values within a capacity. Exact by
// default.
//
// Method (after Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", EJOR 83, 1995): the
// lower convex hulls of the groups give the optimum of the linear relaxation and a first solution; then
// dynamic programming over (cost, value) states changes the groups in order of how near their slopes are to
// the critical one, and drops every state whose bound is no better than the best solution. Usually few groups
// are touched.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace quantmoe {

struct KnapsackOption {
  int64_t cost = 0;  // not negative
  double value = 0;  // finite; need not fall as the cost rises
};
using KnapsackGroup = std::vector<KnapsackOption>;  // not empty

struct KnapsackSolution {
  std::vector<int> choice;  // option of each group; the first of equal options
  int64_t cost = 0;
  double value = 0;
  double lower_bound = 0;  // no solution has less; equals `value` when exact
  bool exact = false;      // proven, up to a relative rounding error of 1e-12
};

// The corners of the linear relaxation over all capacities, ascending in cost and falling in value: the lower
// convex hull of all solutions, of which every corner is one. Never empty; the first is the cheapest
// solution.
struct HullPoint {
  int64_t cost = 0;
  double value = 0;
};
std::vector<HullPoint> KnapsackHull(const std::vector<KnapsackGroup>& groups);

inline constexpr int64_t kKnapsackStates = 20'000'000;

// Empty when even the cheapest options exceed `capacity`. After `max_states` states the best solution so far
// is returned with the bound reached: the limit is a count, so the result is the same on every machine.
std::optional<KnapsackSolution> SolveKnapsack(const std::vector<KnapsackGroup>& groups, int64_t capacity,
                                              int64_t max_states = kKnapsackStates);

}  // namespace quantmoe
