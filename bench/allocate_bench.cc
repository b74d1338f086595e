// The exact allocation: time for 50,000 linears at four widths, and against a plain dynamic program where
// that is possible at all; and the robust allocation over the windows of a sample, whose yardsticks are one
// exact allocation of the mean losses and the risk of its plan.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "plan/allocate/knapsack.h"
#include "plan/allocate/robust_knapsack.h"

namespace quantmoe {
namespace {

double Milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Losses that fall by a factor of 2 to 7 a step, costs of two shapes.
std::vector<KnapsackGroup> MakeLinears(int count, int64_t large, int64_t small, std::mt19937& random) {
  std::vector<KnapsackGroup> groups(static_cast<size_t>(count));
  for (KnapsackGroup& group : groups) {
    const int64_t weights = random() % 3 == 0 ? large : small;
    double value = static_cast<double>(random() % 1000000) + 1;
    for (int bits : {2, 3, 4, 8}) {
      group.push_back({bits * weights, value});
      value /= 2.0 + static_cast<double>(random() % 100) / 20;
    }
  }
  return groups;
}

int64_t LeastCost(const std::vector<KnapsackGroup>& groups) {
  int64_t cost = 0;
  for (const KnapsackGroup& group : groups) cost += group.front().cost;
  return cost;
}

// The textbook: the best value for every capacity, group by group.
double PlainProgram(const std::vector<KnapsackGroup>& groups, int64_t capacity) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> best(static_cast<size_t>(capacity) + 1, 0);
  std::vector<double> next(best.size());
  for (const KnapsackGroup& group : groups) {
    for (size_t c = 0; c < best.size(); ++c) {
      next[c] = infinity;
      for (const KnapsackOption& option : group) {
        const auto cost = static_cast<size_t>(option.cost);
        if (cost <= c) next[c] = std::min(next[c], option.value + best[c - cost]);
      }
    }
    std::swap(best, next);
  }
  return best.back();
}

void TimeLarge() {
  std::mt19937 random(5);
  const std::vector<KnapsackGroup> groups =
      MakeLinears(50'000, int64_t{4096} * 2048, int64_t{1408} * 2048, random);
  std::printf("50000 linears x 4 widths, 1 thread\n%8s %10s %12s %7s\n", "budget", "ms", "gap", "exact");
  for (const double bits : {2.1, 2.5, 3.0, 4.0, 6.0}) {
    const auto capacity = static_cast<int64_t>(static_cast<double>(LeastCost(groups)) * bits / 2);
    double best = 1e30, gap = 0;
    bool exact = false;
    for (int i = 0; i < 3; ++i) {
      const double start = Milliseconds();
      const auto solution = SolveKnapsack(groups, capacity);
      best = std::min(best, Milliseconds() - start);
      gap = (solution->value - solution->lower_bound) / solution->value;
      exact = solution->exact;
    }
    std::printf("%8.1f %10.1f %12.2g %7s\n", bits, best, gap, exact ? "yes" : "no");
  }
}

void CompareWithPlainProgram() {
  std::mt19937 random(6);
  std::printf("against a plain dynamic program\n%8s %10s %12s %8s %s\n", "linears", "ms", "plain ms", "ratio",
              "same optimum");
  for (const int count : {100, 400, 1600}) {
    const std::vector<KnapsackGroup> groups = MakeLinears(count, 6, 2, random);
    const int64_t capacity = LeastCost(groups) * 3 / 2;
    const double start = Milliseconds();
    const auto solution = SolveKnapsack(groups, capacity);
    const double middle = Milliseconds();
    const double plain = PlainProgram(groups, capacity);
    const double end = Milliseconds();
    const bool same = std::abs(solution->value - plain) <= 1e-9 * plain;
    std::printf("%8d %10.2f %12.2f %8.1f %s\n", count, middle - start, end - middle,
                (end - middle) / (middle - start), same ? "yes" : "NO");
  }
}

// The same linears seen by window: losses scatter around their mean, and one linear of twelve breaks one
// window of twelve.
RobustProblem MakeWindows(const std::vector<KnapsackGroup>& linears, size_t windows, std::mt19937& random) {
  const auto unit = [&random] { return static_cast<double>(random() % 4096) / 4096; };
  RobustProblem problem;
  problem.base_losses.assign(windows, 0.0);
  for (const KnapsackGroup& linear : linears) {
    const bool breaks = random() % 12 == 0;
    std::vector<double> scale(windows);
    for (double& one : scale) {
      one = 0.5 + unit();
      if (breaks && random() % 12 == 0) one *= 50;
    }
    problem.groups.emplace_back();
    for (const KnapsackOption& width : linear) {
      RobustOption option{width.cost, {}};
      for (double one : scale) option.losses.push_back(width.value * one * (0.8 + 0.4 * unit()));
      problem.groups.back().push_back(std::move(option));
    }
  }
  return problem;
}

// The mean losses alone, in one round.
RobustSolution SolveMean(RobustProblem problem) {
  problem.tail.weight = 0;
  return *SolveRobustKnapsack(std::move(problem));
}

double RiskOf(const RobustProblem& problem, const std::vector<int>& choice) {
  std::vector<double> losses = problem.base_losses;
  for (size_t g = 0; g < choice.size(); ++g) {
    const RobustOption& option = problem.groups[g][static_cast<size_t>(choice[g])];
    for (size_t r = 0; r < losses.size(); ++r) losses[r] += option.losses[r];
  }
  return MeasureRisk(std::move(losses), problem.tail).risk;
}

void TimeRobust() {
  std::printf("robust, 1 thread\n%8s %8s %7s %9s %9s %7s %10s %12s\n", "linears", "windows", "budget", "ms",
              "mean ms", "rounds", "gap", "below mean");
  for (const auto& [count, windows] : {std::pair(300, 64), std::pair(3000, 128), std::pair(50'000, 64)}) {
    std::mt19937 random(7);
    const std::vector<KnapsackGroup> linears =
        MakeLinears(count, int64_t{4096} * 2048, int64_t{1408} * 2048, random);
    RobustProblem problem = MakeWindows(linears, static_cast<size_t>(windows), random);
    for (const double bits : {2.25, 3.0}) {
      problem.capacity = static_cast<int64_t>(static_cast<double>(LeastCost(linears)) * bits / 2);
      const double start = Milliseconds();
      const RobustSolution mean = SolveMean(problem);
      const double middle = Milliseconds();
      const RobustSolution robust = *SolveRobustKnapsack(problem);
      const double end = Milliseconds();
      std::printf("%8d %8d %7.2f %9.1f %9.1f %7d %10.2g %11.2f%%\n", count, windows, bits, end - middle,
                  middle - start, robust.rounds, robust.gap / robust.objective,
                  100 * (1 - robust.objective / RiskOf(problem, mean.choice)));
    }
  }
}

}  // namespace
}  // namespace quantmoe

int main() {
  quantmoe::TimeLarge();
  quantmoe::CompareWithPlainProgram();
  quantmoe::TimeRobust();
  return 0;
}
