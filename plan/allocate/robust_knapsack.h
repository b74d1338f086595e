// The knapsack that sees what breaks: one option of every group within a capacity, with the least risk over
// the windows of a sample instead of the least sum of one value.
//
//   L_r = base_r + sum over groups of the chosen option's loss in window r
//   minimise (1 - b) mean_r L_r + b CVaR_a(L_1..L_R), a = tail.level, b = tail.weight (tail_risk.h)
//
// Method: the risk is the largest sum_r p_r L_r over weights p = (1 - b)/R + b w, where w sums to 1 and
// nothing in it exceeds 1 / ((1 - a) R) (Rockafellar and Uryasev, "Optimization of conditional
// value-at-risk", Journal of Risk 2, 2000). So the problem is a game: weights against plans. Weights learn by
// multiplication (Arora, Hazan and Kale, "The multiplicative weights update method", Theory of Computing 8,
// 2012), and each round answers them with one exact knapsack. Since the least weighted sum for any weights is
// at most the least risk, every round proves a bound; the last one tries the mean of the weights. Every
// answer is a plan: the best ones are improved by exchanges of one or two groups' options, and the best of
// all by its true risk is kept.
//
// Limits are counts, sums run in a fixed order, and nothing is used but + - * / and square roots, so that the
// result is the same on every machine. It does not depend on the order of the windows either.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "plan/allocate/tail_risk.h"

namespace quantmoe {

struct RobustOption {
  int64_t cost = 0;            // not negative
  std::vector<double> losses;  // [windows], finite, of any sign
};
using RobustGroup = std::vector<RobustOption>;  // not empty

struct RobustProblem {
  std::vector<RobustGroup> groups;
  std::vector<double>
      base_losses;       // [windows], at least one: what the options' losses are added to, or zeros
  int64_t capacity = 0;  // in units of the options' cost
  TailRisk tail;
};

struct RobustLimits {
  int rounds = 200;            // at least 1
  double relative_gap = 1e-4;  // ends the rounds: (objective - lower_bound) / |objective|
  int64_t states =
      1'000'000;  // of a round's knapsack (SolveKnapsack); fewer give lower bounds, never wrong ones
};

struct RobustSolution {
  std::vector<int> choice;  // option of each group
  int64_t cost = 0;
  double objective = 0;  // the risk of this choice, in units of the losses
  double mean = 0;
  double cvar = 0;
  double lower_bound = 0;  // no choice has less; rounding is taken off
  double gap = 0;          // objective - lower_bound, never negative
  int rounds = 0;          // knapsacks that were solved
};

// Empty when even the cheapest options exceed the capacity. With b = 0, a = 0 or one window the risk is one
// sum, and the choice is that of SolveKnapsack on the mean losses, after one round and with its limit of
// states. Time: per round one knapsack and a pass over all losses. Memory: `problem`, which is reordered in
// place.
std::optional<RobustSolution> SolveRobustKnapsack(RobustProblem problem, const RobustLimits& limits = {});

}  // namespace quantmoe
