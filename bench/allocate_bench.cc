// The exact allocation: time for 50,000 linears at four widths, and against a plain dynamic program where
// that is possible at all.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "plan/allocate/knapsack.h"

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

}  // namespace
}  // namespace quantmoe

int main() {
  quantmoe::TimeLarge();
  quantmoe::CompareWithPlainProgram();
  return 0;
}
