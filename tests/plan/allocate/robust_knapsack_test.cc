#include "plan/allocate/robust_knapsack.h"

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "plan/allocate/knapsack.h"

namespace quantmoe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using LossFunction = double (*)(std::mt19937&);

double RealLoss(std::mt19937& random) { return static_cast<double>(random()) / 2147483648.0 - 1; }
double IntegerLoss(std::mt19937& random) { return static_cast<double>(random() % 9) - 4; }
// Mostly little, sometimes a break.
double BreakingLoss(std::mt19937& random) {
  const double loss = RealLoss(random);
  return random() % 8 == 0 ? loss + 10 : loss;
}

RobustProblem RandomProblem(std::mt19937& random, LossFunction loss, size_t windows, size_t groups) {
  RobustProblem problem;
  problem.base_losses.resize(windows);
  if (random() % 2 == 0) {
    for (double& base : problem.base_losses) base = loss(random);
  }
  problem.groups.resize(groups);
  for (RobustGroup& group : problem.groups) {
    group.resize(1 + random() % 4);
    for (RobustOption& option : group) {
      option.cost = static_cast<int64_t>(random() % 12);
      for (size_t r = 0; r < windows; ++r) option.losses.push_back(loss(random));
    }
  }
  problem.capacity = static_cast<int64_t>(groups + random() % (6 * groups));
  return problem;
}

RobustProblem SmallProblem(std::mt19937& random, LossFunction loss) {
  RobustProblem problem = RandomProblem(random, loss, 1 + random() % 12, 2 + random() % 5);
  problem.tail.level = std::vector<double>{0, 0.35, 0.5, 0.8, 0.9, 1}[random() % 6];
  problem.tail.weight = std::vector<double>{0, 0.25, 0.5, 0.9, 1}[random() % 5];
  return problem;
}

// CVaR as the definition says: the mean of the worst share, window by window.
double Risk(std::vector<double> losses, const TailRisk& tail) {
  std::sort(losses.begin(), losses.end());
  const auto windows = static_cast<double>(losses.size());
  const double share = std::max((1 - tail.level) * windows, 1.0);
  double mean = 0, worst = 0, left = share;
  for (size_t r = losses.size(); r-- > 0;) {
    mean += losses[r] / windows;
    worst += std::min(left, 1.0) * losses[r] / share;
    left -= std::min(left, 1.0);
  }
  return (1 - tail.weight) * mean + tail.weight * worst;
}

std::vector<double> LossesOf(const RobustProblem& problem, const std::vector<int>& choice) {
  std::vector<double> losses = problem.base_losses;
  for (size_t g = 0; g < choice.size(); ++g) {
    for (size_t r = 0; r < losses.size(); ++r) losses[r] += problem.groups[g][choice[g]].losses[r];
  }
  return losses;
}

int64_t CostOf(const RobustProblem& problem, const std::vector<int>& choice) {
  int64_t cost = 0;
  for (size_t g = 0; g < choice.size(); ++g) cost += problem.groups[g][choice[g]].cost;
  return cost;
}

// The least risk by trying everything; infinite when nothing fits.
double BruteForce(const RobustProblem& problem) {
  double best = kInfinity;
  std::vector<int> choice(problem.groups.size(), 0);
  while (true) {
    if (CostOf(problem, choice) <= problem.capacity) {
      best = std::min(best, Risk(LossesOf(problem, choice), problem.tail));
    }
    size_t g = 0;
    while (g < choice.size() && ++choice[g] == static_cast<int>(problem.groups[g].size())) choice[g++] = 0;
    if (g == choice.size()) return best;
  }
}

std::vector<KnapsackGroup> MeanGroups(const RobustProblem& problem) {
  std::vector<KnapsackGroup> groups;
  for (const RobustGroup& group : problem.groups) {
    groups.emplace_back();
    for (const RobustOption& option : group) {
      groups.back().push_back({option.cost, MeasureRisk(option.losses, {}).mean});
    }
  }
  return groups;
}

// What must hold for any answer to a problem whose least risk is known.
void CheckAnswer(const RobustProblem& problem, const RobustSolution& solution, double least) {
  ASSERT_LE(solution.lower_bound, least);
  ASSERT_GE(solution.objective, least - 1e-12 * (1 + std::abs(least)));
  ASSERT_GE(solution.gap, 0);
  ASSERT_EQ(solution.gap, solution.objective - solution.lower_bound);
  ASSERT_EQ(solution.cost, CostOf(problem, solution.choice));
  ASSERT_LE(solution.cost, problem.capacity);
  const RiskOfLosses risk = MeasureRisk(LossesOf(problem, solution.choice), problem.tail);
  ASSERT_NEAR(solution.objective, risk.risk, 1e-12);
  ASSERT_NEAR(solution.mean, risk.mean, 1e-12);
  ASSERT_NEAR(solution.cvar, risk.cvar, 1e-12);
}

struct Counts {
  int feasible = 0;
  int optimal = 0;
  double distance = 0;  // of the bound from the optimum, in all
};

Counts CountAgainstBruteForce(LossFunction loss, int problems, const RobustLimits& limits) {
  std::mt19937 random(20260601);
  Counts counts;
  for (int i = 0; i < problems; ++i) {
    const RobustProblem problem = SmallProblem(random, loss);
    const double least = BruteForce(problem);
    const std::optional<RobustSolution> solution = SolveRobustKnapsack(problem, limits);
    EXPECT_EQ(solution.has_value(), least < kInfinity) << i;
    if (!solution) continue;
    CheckAnswer(problem, *solution, least);
    if (testing::Test::HasFatalFailure()) {
      ADD_FAILURE() << "problem " << i;
      return counts;
    }
    ++counts.feasible;
    counts.optimal += solution->objective <= least + 1e-9 ? 1 : 0;
    counts.distance += least - solution->lower_bound;
  }
  return counts;
}

// Measured: 99.9 % of these are solved to the optimum, 97.6 % without exchanges.
TEST(RobustKnapsackTest, BruteForceLiesBetweenBoundAndObjective) {
  int kind = 0;
  for (const LossFunction loss : {RealLoss, IntegerLoss, BreakingLoss}) {
    const Counts counts = CountAgainstBruteForce(loss, 1500, {});
    RecordProperty("feasible_" + std::to_string(kind), counts.feasible);
    RecordProperty("optimal_" + std::to_string(kind++), counts.optimal);
    EXPECT_GT(counts.feasible, 800);
    EXPECT_GT(counts.optimal, counts.feasible * 99 / 100);
    EXPECT_LT(counts.distance, 0.3 * counts.feasible) << "losses are of the order of 1 to 10";
  }
}

// Weights that have hardly learned prove little, but nothing wrong.
TEST(RobustKnapsackTest, ABoundAfterAFewRoundsIsCertifiedToo) {
  double before = kInfinity;
  for (const int rounds : {1, 2, 5, 50}) {
    const Counts counts = CountAgainstBruteForce(BreakingLoss, 400, {rounds, 0});
    EXPECT_LT(counts.distance, before) << "rounds tighten the bound";
    before = counts.distance;
  }
}

// What a knapsack found is no bound when its states ran out.
TEST(RobustKnapsackTest, ABoundFromKnapsacksThatAreNotExactIsCertifiedToo) {
  for (const int64_t states : {0, 5, 20}) CountAgainstBruteForce(RealLoss, 500, {20, 0, states});
}

// Integers over a power of two windows have exact means, so equality means the same problem.
TEST(RobustKnapsackTest, OneSumIsThePlainKnapsack) {
  std::mt19937 random(8);
  for (int i = 0; i < 600; ++i) {
    const size_t windows = i % 3 == 0 ? 1 : size_t{1} << (random() % 4);
    RobustProblem problem = RandomProblem(random, IntegerLoss, windows, 1 + random() % 40);
    problem.tail.level = i % 3 == 1 ? 0 : 0.9;
    problem.tail.weight = i % 3 == 2 ? 0 : 0.3;
    const auto plain = SolveKnapsack(MeanGroups(problem), problem.capacity);
    const auto robust = SolveRobustKnapsack(problem, {200, 0});
    ASSERT_EQ(robust.has_value(), plain.has_value()) << i;
    if (!robust) continue;
    ASSERT_EQ(robust->choice, plain->choice) << i;
    ASSERT_EQ(robust->cost, plain->cost) << i;
    ASSERT_EQ(robust->mean, plain->value + MeasureRisk(problem.base_losses, {}).mean) << i;
    ASSERT_NEAR(robust->objective, robust->mean, 1e-12) << i;
    ASSERT_LT(robust->gap, 1e-8) << i;
    ASSERT_EQ(robust->rounds, 1);
  }
}

TEST(RobustKnapsackTest, TheOrderOfWindowsChangesNothing) {
  std::mt19937 random(9);
  for (int i = 0; i < 100; ++i) {
    RobustProblem problem =
        RandomProblem(random, i % 2 == 0 ? IntegerLoss : BreakingLoss, 2 + random() % 20, 30);
    problem.capacity = 200;
    RobustProblem permuted = problem;
    std::vector<size_t> order(problem.base_losses.size());
    for (size_t r = 0; r < order.size(); ++r) order[r] = r;
    for (size_t r = order.size(); r-- > 1;) std::swap(order[r], order[random() % (r + 1)]);
    for (size_t r = 0; r < order.size(); ++r) {
      permuted.base_losses[r] = problem.base_losses[order[r]];
      for (size_t g = 0; g < problem.groups.size(); ++g) {
        for (size_t o = 0; o < problem.groups[g].size(); ++o) {
          permuted.groups[g][o].losses[r] = problem.groups[g][o].losses[order[r]];
        }
      }
    }
    const auto expected = SolveRobustKnapsack(problem, {40, 1e-4});
    const auto solution = SolveRobustKnapsack(permuted, {40, 1e-4});
    ASSERT_TRUE(expected && solution) << i;
    ASSERT_EQ(solution->objective, expected->objective) << i;
    ASSERT_EQ(solution->lower_bound, expected->lower_bound) << i;
    ASSERT_EQ(solution->choice, expected->choice) << i;
  }
}

// The bits of a super expert are worth little on average, for only one window needs them.
TEST(RobustKnapsackTest, AWindowThatTheMeanGivesUpIsSaved) {
  const size_t windows = 20;
  RobustProblem problem;
  problem.base_losses.assign(windows, 0.1);
  for (int g = 0; g < 4; ++g) {
    problem.groups.push_back(
        {{2, std::vector<double>(windows, 0.2)}, {4, std::vector<double>(windows, 0.0)}});
  }
  std::vector<double> breaks(windows, 0.0);
  breaks[7] = 3;  // a mean of 0.15, less than what two bits bring elsewhere
  problem.groups.push_back({{2, breaks}, {4, std::vector<double>(windows, 0.0)}});
  problem.capacity = 5 * 2 + 4 * 2;

  const auto by_mean = SolveKnapsack(MeanGroups(problem), problem.capacity);
  EXPECT_THAT(by_mean->choice, testing::ElementsAre(1, 1, 1, 1, 0));
  const auto robust = SolveRobustKnapsack(problem);
  ASSERT_TRUE(robust.has_value());
  EXPECT_EQ(robust->choice.back(), 1);
  EXPECT_EQ(robust->cost, problem.capacity);
  const auto worst = [&](const std::vector<int>& choice) {
    const std::vector<double> losses = LossesOf(problem, choice);
    return *std::max_element(losses.begin(), losses.end());
  };
  EXPECT_NEAR(worst(by_mean->choice), 3.1, 1e-12);
  EXPECT_NEAR(worst(robust->choice), 0.3, 1e-12);
  EXPECT_NEAR(robust->objective, 0.3, 1e-12);
  EXPECT_LT(robust->gap, 1e-3);
}

// Losses as a model has them: falling with the width, and groups that break some windows.
RobustProblem ModelLike(unsigned seed, size_t groups, size_t windows) {
  std::mt19937 random(seed);
  RobustProblem problem;
  problem.base_losses.assign(windows, 0);
  for (size_t g = 0; g < groups; ++g) {
    const int64_t weights = random() % 3 == 0 ? 4096 : 1408;
    const double size = 1 + static_cast<double>(random() % 50);
    const bool breaks = random() % 12 == 0;
    std::vector<double> scale(windows);
    for (double& one : scale) {
      one = size * (2 + RealLoss(random));
      if (breaks && random() % 12 == 0) one *= 50;
    }
    problem.groups.emplace_back();
    double shrunk = 1;
    for (int bits : {2, 3, 4, 8}) {
      RobustOption option{bits * weights, {}};
      for (double one : scale) option.losses.push_back(one * shrunk * (1 + 0.4 * RealLoss(random)));
      problem.groups.back().push_back(std::move(option));
      shrunk /= bits == 4 ? 200 : 4;
    }
    problem.capacity += weights * 5 / 2;
  }
  return problem;
}

TEST(RobustKnapsackTest, HundredsOfGroupsHaveASmallGap) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    const RobustProblem problem = ModelLike(seed, 300, 64);
    const auto robust = SolveRobustKnapsack(problem);
    const auto by_mean = SolveKnapsack(MeanGroups(problem), problem.capacity);
    const double before = MeasureRisk(LossesOf(problem, by_mean->choice), problem.tail).risk;
    ASSERT_TRUE(robust.has_value());
    EXPECT_LT(robust->gap, 0.004 * robust->objective) << seed;
    EXPECT_LT(robust->objective, 0.99 * before) << seed;
  }
}

// Where exchanges cannot all be tried they are chosen. Measured: a gap of 0.00028; 0.0005 when the first ones
// are tried, 0.00084 without any.
TEST(RobustKnapsackTest, ThousandsOfGroupsHaveASmallerOne) {
  const auto robust = SolveRobustKnapsack(ModelLike(5, 2500, 16), {60, 1e-5});
  ASSERT_TRUE(robust.has_value());
  EXPECT_LT(robust->gap, 0.0004 * robust->objective);
}

TEST(RobustKnapsackTest, RoundsEndAtTheGapOrAtTheLimit) {
  const RobustProblem problem = ModelLike(1, 300, 64);
  const auto near = SolveRobustKnapsack(problem, {200, 0.02});
  EXPECT_LT(near->rounds, 60);
  EXPECT_LE(near->gap, 0.02 * near->objective);
  EXPECT_EQ(SolveRobustKnapsack(problem, {7, 0})->rounds, 7);
}

// Losses are fractions of a power of two, so that not even their making rounds.
TEST(RobustKnapsackTest, TheSameBitsEverywhere) {
  std::mt19937 random(10);
  RobustProblem problem = RandomProblem(random, BreakingLoss, 12, 60);
  problem.capacity = 250;
  const auto solution = SolveRobustKnapsack(problem);
  ASSERT_TRUE(solution.has_value());
  EXPECT_EQ(solution->objective, 0x1.da071b31eap+5);
  EXPECT_EQ(solution->lower_bound, 0x1.cb44d459c1db8p+5);
}

TEST(RobustKnapsackTest, NoGroupsAndNoRoom) {
  const auto nothing = SolveRobustKnapsack({{}, {1, 3}, 0, {0.9, 0.5}});
  ASSERT_TRUE(nothing.has_value());
  EXPECT_TRUE(nothing->choice.empty());
  EXPECT_DOUBLE_EQ(nothing->objective, 0.5 * 2 + 0.5 * 3);
  EXPECT_FALSE(SolveRobustKnapsack({{{{2, {1, 1}}}}, {0, 0}, 1, {}}).has_value());
}

}  // namespace
}  // namespace quantmoe
