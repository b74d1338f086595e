#include "plan/allocate/knapsack.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/allocate/rank_knapsack.h"

namespace quantmoe {
namespace {

// The least value by trying everything; infinite when nothing fits.
double BruteForce(const std::vector<KnapsackGroup>& groups, int64_t capacity, size_t next = 0) {
  if (capacity < 0) return std::numeric_limits<double>::infinity();
  if (next == groups.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (const KnapsackOption& option : groups[next]) {
    best = std::min(best, option.value + BruteForce(groups, capacity - option.cost, next + 1));
  }
  return best;
}

enum class Values { kSmallIntegers, kNearlyMonotone, kCorrelated };

std::vector<KnapsackGroup> RandomGroups(std::mt19937& random, Values values) {
  const auto below = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::vector<KnapsackGroup> groups(1 + below(7));
  for (KnapsackGroup& group : groups) {
    const int scale = 1 + below(4);
    group.resize(1 + below(4));
    for (size_t i = 0; i < group.size(); ++i) {
      group[i].cost =
          values == Values::kSmallIntegers ? below(12) : scale * (2 + static_cast<int>(i)) + below(2);
      group[i].value =
          values == Values::kCorrelated ? 40.0 - static_cast<double>(group[i].cost) + below(3) : below(25);
    }
  }
  return groups;
}

// Values are small integers, so sums are exact and equality means the same optimum.
TEST(KnapsackTest, EqualsBruteForce) {
  std::mt19937 random(20240607);
  int feasible = 0;
  for (int i = 0; i < 9000; ++i) {
    const std::vector<KnapsackGroup> groups = RandomGroups(random, static_cast<Values>(i % 3));
    const int64_t capacity = random() % 60;
    const double expected = BruteForce(groups, capacity);
    const std::optional<KnapsackSolution> solution = SolveKnapsack(groups, capacity);
    ASSERT_EQ(solution.has_value(), expected < std::numeric_limits<double>::infinity()) << i;
    if (!solution) continue;
    ++feasible;
    ASSERT_EQ(solution->value, expected) << i;
    ASSERT_TRUE(solution->exact) << i;
    ASSERT_EQ(solution->lower_bound, expected) << i;
    int64_t cost = 0;
    double value = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      cost += groups[g][solution->choice[g]].cost;
      value += groups[g][solution->choice[g]].value;
    }
    ASSERT_LE(cost, capacity);
    ASSERT_EQ(cost, solution->cost);
    ASSERT_EQ(value, solution->value);
  }
  EXPECT_GT(feasible, 5000);
}

TEST(KnapsackTest, EqualsBruteForceForRealValues) {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> real(0, 1);
  for (int i = 0; i < 1000; ++i) {
    std::vector<KnapsackGroup> groups = RandomGroups(random, Values::kNearlyMonotone);
    for (KnapsackGroup& group : groups) {
      for (KnapsackOption& option : group) option.value = real(random);
    }
    const int64_t capacity = random() % 60;
    const std::optional<KnapsackSolution> solution = SolveKnapsack(groups, capacity);
    const double expected = BruteForce(groups, capacity);
    if (solution) {
      ASSERT_NEAR(solution->value, expected, 1e-12) << i;
    }
  }
}

// A full dynamic program over all costs is the reference where brute force is too slow.
double FullTable(const std::vector<KnapsackGroup>& groups, int capacity) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> best(capacity + 1, 0);
  for (const KnapsackGroup& group : groups) {
    std::vector<double> next(capacity + 1, infinity);
    for (int c = 0; c <= capacity; ++c) {
      for (const KnapsackOption& option : group) {
        if (option.cost <= c) next[c] = std::min(next[c], option.value + best[c - option.cost]);
      }
    }
    best = std::move(next);
  }
  return best[capacity];
}

TEST(KnapsackTest, EqualsAFullTableForManyGroups) {
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    std::vector<KnapsackGroup> groups(200);
    for (KnapsackGroup& group : groups) {
      const int size = 1 + static_cast<int>(random() % 5);
      for (int bits : {2, 3, 4, 8}) group.push_back({bits * size, static_cast<double>(random() % 100000)});
    }
    const int capacity = 1300 + static_cast<int>(random() % 3000);
    const std::optional<KnapsackSolution> solution = SolveKnapsack(groups, capacity);
    const double expected = FullTable(groups, capacity);
    ASSERT_EQ(solution.has_value(), std::isfinite(expected));
    if (solution) {
      ASSERT_EQ(solution->value, expected) << i;
      ASSERT_TRUE(solution->exact);
    }
  }
}

std::vector<KnapsackGroup> ManyLinears(int count, bool equal) {
  std::mt19937 random(5);
  std::vector<KnapsackGroup> groups(count);
  for (KnapsackGroup& group : groups) {
    const int64_t weights = (random() % 3 == 0 ? 4096 : 1408) * int64_t{2048};
    double value = equal ? 1e6 : static_cast<double>(random() % 1000000) + 1;
    for (int bits : {2, 3, 4, 8}) {
      group.push_back({bits * weights, value});
      value /= equal ? 4 : 2.0 + static_cast<double>(random() % 100) / 20;
    }
  }
  return groups;
}

TEST(KnapsackTest, FiftyThousandLinearsAreExactInAMoment) {
  for (const bool equal : {false, true}) {
    const std::vector<KnapsackGroup> groups = ManyLinears(50'000, equal);
    int64_t least = 0;
    for (const KnapsackGroup& group : groups) least += group.front().cost;
    for (const int percent : {101, 125, 150, 237}) {
      const auto start = std::chrono::steady_clock::now();
      const std::optional<KnapsackSolution> solution = SolveKnapsack(groups, least / 100 * percent);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      ASSERT_TRUE(solution.has_value());
      // With equal values everywhere ties outnumber the states; what is not proven then is less than one
      // step.
      EXPECT_TRUE(solution->exact || equal) << percent;
      EXPECT_LE(solution->value - solution->lower_bound, 1e6) << equal << " " << percent;
      RecordProperty("seconds_" + std::to_string(equal) + "_" + std::to_string(percent),
                     std::to_string(seconds.count()));
    }
  }
}

TEST(KnapsackTest, ALimitOfStatesGivesAnHonestBound) {
  std::mt19937 random(9);
  std::vector<KnapsackGroup> groups(40);
  for (KnapsackGroup& group : groups) {
    for (int i = 0; i < 4; ++i) {
      const int64_t cost = 1000 + static_cast<int64_t>(random() % 100000);
      group.push_back({cost, 200000.0 - static_cast<double>(cost) + static_cast<double>(random() % 50)});
    }
  }
  const std::optional<KnapsackSolution> exact = SolveKnapsack(groups, 2'000'001);
  const std::optional<KnapsackSolution> limited = SolveKnapsack(groups, 2'000'001, /*max_states=*/50);
  ASSERT_TRUE(exact.has_value() && limited.has_value());
  EXPECT_FALSE(limited->exact);
  EXPECT_LE(limited->cost, 2'000'001);
  EXPECT_GE(limited->value, exact->value);
  EXPECT_LE(limited->lower_bound, exact->value);
}

TEST(KnapsackTest, TheFirstOfEqualOptionsIsTaken) {
  const std::optional<KnapsackSolution> solution = SolveKnapsack({{{5, 1.0}, {5, 1.0}, {7, 1.0}}}, 10);
  ASSERT_TRUE(solution.has_value());
  EXPECT_THAT(solution->choice, testing::ElementsAre(0));
}

// The least value when no rank may exceed the capacity, by trying everything.
double BruteForceRanks(const std::vector<RankGroup>& groups, std::vector<int64_t> left, size_t next = 0) {
  for (int64_t rest : left) {
    if (rest < 0) return std::numeric_limits<double>::infinity();
  }
  if (next == groups.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (const KnapsackOption& option : groups[next].options) {
    std::vector<int64_t> rest = left;
    for (size_t r = 0; r < rest.size(); ++r) {
      if (groups[next].rank < 0 || groups[next].rank == static_cast<int>(r)) rest[r] -= option.cost;
    }
    best = std::min(best, option.value + BruteForceRanks(groups, rest, next + 1));
  }
  return best;
}

TEST(KnapsackTest, RanksAreBoundedFromBothSides) {
  std::mt19937 random(77);
  int feasible = 0, optimal = 0;
  for (int i = 0; i < 2000; ++i) {
    const int ranks = 1 + static_cast<int>(random() % 3);
    std::vector<RankGroup> groups;
    for (KnapsackGroup& options : RandomGroups(random, static_cast<Values>(i % 3))) {
      groups.push_back(
          {static_cast<int>(random() % static_cast<unsigned>(ranks + 1)) - 1, std::move(options)});
    }
    const int64_t capacity = random() % 40;
    const double expected = BruteForceRanks(groups, std::vector<int64_t>(ranks, capacity));
    const std::optional<KnapsackSolution> solution = SolveRankKnapsack(groups, ranks, capacity);
    ASSERT_EQ(solution.has_value(), expected < std::numeric_limits<double>::infinity()) << i;
    if (!solution) continue;
    ++feasible;
    ASSERT_LE(solution->lower_bound, expected + 1e-9) << i;
    ASSERT_GE(solution->value, expected - 1e-9) << i;
    ASSERT_TRUE(!solution->exact || std::abs(solution->value - expected) < 1e-9) << i;
    std::vector<int64_t> used(ranks, 0);
    double value = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      const KnapsackOption& option = groups[g].options[solution->choice[g]];
      value += option.value;
      for (int r = 0; r < ranks; ++r) {
        if (groups[g].rank < 0 || groups[g].rank == r) used[r] += option.cost;
      }
    }
    ASSERT_NEAR(value, solution->value, 1e-9);
    for (int64_t cost : used) ASSERT_LE(cost, capacity);
    optimal += solution->value <= expected + 1e-9 ? 1 : 0;
  }
  EXPECT_GT(feasible, 1000);
  EXPECT_GT(optimal, feasible * 95 / 100) << "few small instances are missed";
}

TEST(KnapsackTest, TheHullBoundsEveryCapacity) {
  std::mt19937 random(13);
  for (int i = 0; i < 300; ++i) {
    const std::vector<KnapsackGroup> groups = RandomGroups(random, static_cast<Values>(i % 3));
    const std::vector<HullPoint> hull = KnapsackHull(groups);
    for (const HullPoint& corner : hull) {
      EXPECT_EQ(BruteForce(groups, corner.cost), corner.value) << "every corner is an optimum";
    }
    for (size_t c = 1; c < hull.size(); ++c) {
      EXPECT_GT(hull[c].cost, hull[c - 1].cost);
      EXPECT_LT(hull[c].value, hull[c - 1].value);
    }
  }
}

TEST(KnapsackTest, NoGroupsAndNoRoom) {
  EXPECT_TRUE(SolveKnapsack({}, 0).has_value());
  EXPECT_FALSE(SolveKnapsack({{{2, 1.0}}}, 1).has_value());
}

}  // namespace
}  // namespace quantmoe
