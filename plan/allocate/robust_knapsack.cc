#include "plan/allocate/robust_knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "plan/allocate/knapsack.h"

namespace quantmoe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
// A window whose weight has shrunk to this can still come back.
constexpr double kLeastWeight = 1e-9;
constexpr size_t kPlansToImprove = 8;
constexpr size_t kChanges = 1000;          // of one group that exchanges are made of
constexpr int64_t kExchanges = 2'000'000;  // that are tried, for all plans together

struct Plan {
  std::vector<int> choice;
  int64_t cost = 0;
  std::vector<double> losses;  // [windows]
  RiskOfLosses risk;
};

// Numbers windows by what they hold. Sums over windows, and all that follows from them, are then the same for
// any order in which they come.
void SortWindows(RobustProblem& problem) {
  const auto less = [&problem](size_t a, size_t b) {
    const auto differ = [a, b](const std::vector<double>& losses) { return losses[a] != losses[b]; };
    if (differ(problem.base_losses)) return problem.base_losses[a] < problem.base_losses[b];
    for (const RobustGroup& group : problem.groups) {
      for (const RobustOption& option : group) {
        if (differ(option.losses)) return option.losses[a] < option.losses[b];
      }
    }
    return false;
  };
  std::vector<size_t> order(problem.base_losses.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), less);
  std::vector<double> sorted(order.size());
  const auto apply = [&](std::vector<double>& losses) {
    for (size_t r = 0; r < order.size(); ++r) sorted[r] = losses[order[r]];
    losses = sorted;
  };
  apply(problem.base_losses);
  for (RobustGroup& group : problem.groups) {
    for (RobustOption& option : group) apply(option.losses);
  }
}

double WeightedSum(const std::vector<double>& weights, const std::vector<double>& losses) {
  return std::inner_product(weights.begin(), weights.end(), losses.begin(), 0.0);
}

// The weights p of windows in the risk from those in CVaR.
std::vector<double> RiskWeights(std::vector<double> weights, double tail_weight) {
  const double even = (1 - tail_weight) / static_cast<double>(weights.size());
  for (double& weight : weights) weight = even + tail_weight * weight;
  return weights;
}

// Losses are summed from the base on in the order of groups.
Plan MakePlan(const RobustProblem& problem, std::vector<int> choice, int64_t cost) {
  Plan plan{std::move(choice), cost, problem.base_losses, {}};
  for (size_t g = 0; g < plan.choice.size(); ++g) {
    const std::vector<double>& losses = problem.groups[g][static_cast<size_t>(plan.choice[g])].losses;
    for (size_t r = 0; r < losses.size(); ++r) plan.losses[r] += losses[r];
  }
  plan.risk = MeasureRisk(plan.losses, problem.tail);
  return plan;
}

// What a unit of cost is worth in the linear relaxation.
double PriceOfCost(const std::vector<KnapsackGroup>& groups, int64_t capacity) {
  const std::vector<HullPoint> hull = KnapsackHull(groups);
  for (size_t i = 1; i < hull.size(); ++i) {
    const double cost = static_cast<double>(hull[i].cost - hull[i - 1].cost);
    if (hull[i].cost > capacity) return (hull[i - 1].value - hull[i].value) / cost;
  }
  return 0;
}

// Changes the options of one or two groups of a plan as long as its risk falls. `values` are the groups at
// the weights of the best bound: what is far from worth its cost there is not tried where there is much to
// try.
class Exchanges {
 public:
  Exchanges(const RobustProblem& problem, const std::vector<KnapsackGroup>& values)
      : problem_(problem), values_(values), price_(PriceOfCost(values, problem.capacity)) {}

  Plan Improve(Plan plan) {
    while (TakeOne(plan)) {
    }
    return plan;
  }

 private:
  // Another option for one group.
  struct Change {
    double slope;  // of the risk along it, by the weights that the plan's windows have
    int64_t cost;
    int group;  // -1: no change, so that a pair can be a single one
    int option;
  };

  // By slope: since the risk is the largest weighted sum, it falls at most as much as they say, and changes
  // that do not fall together need not be tried.
  std::vector<Change> ChangesOf(const Plan& plan) const {
    const std::vector<double> weights =
        RiskWeights(TailWeights(plan.losses, problem_.tail.level), problem_.tail.weight);
    std::vector<Change> changes = NearChanges(plan);
    for (Change& change : changes) {
      const auto group = static_cast<size_t>(change.group);
      const RobustOption& option = problem_.groups[group][static_cast<size_t>(change.option)];
      change.slope = WeightedSum(weights, option.losses) - WeightedSum(weights, Chosen(plan, group).losses);
    }
    changes.push_back({0, 0, -1, 0});
    SortBySlope(changes);
    return changes;
  }

  // The changes whose gain is nearest to the price of their cost. Their slope is that distance.
  std::vector<Change> NearChanges(const Plan& plan) const {
    std::vector<Change> changes;
    for (size_t g = 0; g < plan.choice.size(); ++g) {
      const KnapsackOption& chosen = values_[g][static_cast<size_t>(plan.choice[g])];
      for (int o = 0; o < static_cast<int>(values_[g].size()); ++o) {
        if (o == plan.choice[g]) continue;
        const KnapsackOption& option = values_[g][static_cast<size_t>(o)];
        const int64_t cost = option.cost - chosen.cost;
        const double distance = std::abs(option.value - chosen.value + price_ * static_cast<double>(cost));
        changes.push_back({distance, cost, static_cast<int>(g), o});
      }
    }
    if (changes.size() <= kChanges) return changes;
    SortBySlope(changes);
    changes.resize(kChanges);
    return changes;
  }

  static void SortBySlope(std::vector<Change>& changes) {
    std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
      return std::tie(a.slope, a.group, a.option) < std::tie(b.slope, b.group, b.option);
    });
  }

  const RobustOption& Chosen(const Plan& plan, size_t group) const {
    return problem_.groups[group][static_cast<size_t>(plan.choice[group])];
  }

  // Takes the first exchange that lowers the risk; false when none does.
  bool TakeOne(Plan& plan) {
    const std::vector<Change> changes = ChangesOf(plan);
    for (size_t i = 0; i < changes.size(); ++i) {
      for (size_t j = i + 1; j < changes.size() && changes[i].slope + changes[j].slope < 0; ++j) {
        if (tries_left_-- <= 0) return false;
        if (changes[i].group == changes[j].group) continue;
        if (plan.cost + changes[i].cost + changes[j].cost > problem_.capacity) continue;
        if (Take(plan, changes[i], changes[j])) return true;
      }
    }
    return false;
  }

  bool Take(Plan& plan, const Change& first, const Change& second) const {
    std::vector<double> losses = plan.losses;
    for (const Change* change : {&first, &second}) AddChange(plan, *change, losses);
    // A fall that rounding could have made would let exchanges go in circles.
    const double least_fall = 1e-12 * std::abs(plan.risk.risk);
    if (!(MeasureRisk(std::move(losses), problem_.tail).risk < plan.risk.risk - least_fall)) return false;
    std::vector<int> choice = plan.choice;
    for (const Change* change : {&first, &second}) {
      if (change->group >= 0) choice[static_cast<size_t>(change->group)] = change->option;
    }
    Plan changed = MakePlan(problem_, std::move(choice), plan.cost + first.cost + second.cost);
    if (!(changed.risk.risk < plan.risk.risk)) return false;
    plan = std::move(changed);
    return true;
  }

  void AddChange(const Plan& plan, const Change& change, std::vector<double>& losses) const {
    if (change.group < 0) return;
    const auto group = static_cast<size_t>(change.group);
    const std::vector<double>& before = Chosen(plan, group).losses;
    const std::vector<double>& after = problem_.groups[group][static_cast<size_t>(change.option)].losses;
    for (size_t r = 0; r < losses.size(); ++r) losses[r] += after[r] - before[r];
  }

  const RobustProblem& problem_;
  const std::vector<KnapsackGroup>& values_;
  const double price_;
  int64_t tries_left_ = kExchanges;
};

class Solver {
 public:
  Solver(RobustProblem problem, const RobustLimits& limits)
      : problem_(std::move(problem)),
        limits_(limits),
        windows_(problem_.base_losses.size()),
        one_sum_(problem_.tail.weight == 0 || problem_.tail.level == 0 || windows_ == 1) {
    SortWindows(problem_);
    for (const RobustGroup& group : problem_.groups) {
      values_.emplace_back();
      for (const RobustOption& option : group) values_.back().push_back({option.cost, 0});
    }
    rounding_ = Rounding();
  }

  std::optional<RobustSolution> Solve() {
    const std::vector<double> even(windows_, 1.0 / static_cast<double>(windows_));
    const std::optional<Plan> first = Answer(even);
    if (!first) return std::nullopt;
    if (!one_sum_) Learn(even, *first);
    if (!one_sum_ && !Near()) Exchange();
    return Finish();
  }

 private:
  // More than all roundings of one bound together: of sums over groups and windows, and of SolveKnapsack,
  // which drops what is better by less than 1e-12, or by four units in the last place a group.
  double Rounding() const {
    const auto largest = [](const std::vector<double>& losses) {
      double most = 0;
      for (double loss : losses) most = std::max(most, std::abs(loss));
      return most;
    };
    double magnitude = largest(problem_.base_losses);
    for (const RobustGroup& group : problem_.groups) {
      double most = 0;
      for (const RobustOption& option : group) most = std::max(most, largest(option.losses));
      magnitude += most;
    }
    const auto terms = static_cast<double>(problem_.groups.size() + windows_);
    return magnitude * (4e-12 + 16 * kEpsilon * terms);
  }

  // Weights move towards the windows in which the answers lose most. The last round takes the mean weights of
  // the second half of all.
  void Learn(std::vector<double> weights, Plan answer) {
    std::vector<double> mean(windows_, 0.0);
    for (int round = 2; round <= limits_.rounds && !Near(); ++round) {
      weights = NextWeights(std::move(weights), answer.losses, round - 1);
      const bool counted = 2 * round > limits_.rounds;
      for (size_t r = 0; counted && r < windows_; ++r) mean[r] += weights[r];
      if (round == limits_.rounds) weights = CapWeights(mean, LargestWeight());
      answer = *Answer(weights);
    }
  }

  double LargestWeight() const { return LargestWindowWeight(windows_, problem_.tail.level); }

  // Multiplies each weight by about exp(x), where x is the window's distance from the weighted mean, in units
  // of the mean distance, times a step that falls with the square root of the rounds. The quotient stands for
  // the exponential, which differs between libraries.
  std::vector<double> NextWeights(std::vector<double> weights, const std::vector<double>& losses,
                                  int round) const {
    const double middle = WeightedSum(weights, losses);
    double distance = 0;
    for (size_t r = 0; r < windows_; ++r) distance += weights[r] * std::abs(losses[r] - middle);
    if (distance == 0) return weights;
    const double step = 1 / std::sqrt(static_cast<double>(round));
    for (size_t r = 0; r < windows_; ++r) {
      const double x = std::clamp(step * (losses[r] - middle) / distance, -1.0, 1.0);
      weights[r] = std::max(weights[r] * (1 + x / 2) / (1 - x / 2), kLeastWeight);
    }
    return CapWeights(std::move(weights), LargestWeight());
  }

  // The best plan for fixed weights of windows in CVaR, noted with the bound that it proves. Empty when
  // nothing fits, which depends on no weights.
  std::optional<Plan> Answer(const std::vector<double>& weights) {
    const std::vector<double> p = one_sum_ ? weights : RiskWeights(weights, problem_.tail.weight);
    SetValues(p);
    std::optional<KnapsackSolution> solution =
        SolveKnapsack(values_, problem_.capacity, one_sum_ ? kKnapsackStates : limits_.states);
    if (!solution) return std::nullopt;
    ++rounds_;
    const double bound = solution->lower_bound + WeightedSum(p, problem_.base_losses) - rounding_;
    if (bound > lower_bound_) {
      lower_bound_ = bound;
      best_weights_ = p;
    }
    Plan plan = MakePlan(problem_, std::move(solution->choice), solution->cost);
    Keep(plan);
    return plan;
  }

  void SetValues(const std::vector<double>& risk_weights) {
    for (size_t g = 0; g < values_.size(); ++g) {
      for (size_t o = 0; o < values_[g].size(); ++o) {
        values_[g][o].value = WeightedSum(risk_weights, problem_.groups[g][o].losses);
      }
    }
  }

  // Keeps the best different plans, the first of equal ones before the others.
  void Keep(const Plan& plan) {
    for (const Plan& kept : best_) {
      if (kept.choice == plan.choice) return;
    }
    const auto place = std::upper_bound(best_.begin(), best_.end(), plan, [](const Plan& a, const Plan& b) {
      return a.risk.risk < b.risk.risk;
    });
    best_.insert(place, plan);
    if (best_.size() > kPlansToImprove) best_.pop_back();
  }

  bool Near() const {
    const double objective = best_.front().risk.risk;
    return objective - lower_bound_ <= limits_.relative_gap * std::abs(objective);
  }

  void Exchange() {
    SetValues(best_weights_);
    Exchanges exchanges(problem_, values_);
    const std::vector<Plan> starts = best_;
    for (const Plan& start : starts) Keep(exchanges.Improve(start));
  }

  RobustSolution Finish() const {
    const Plan& plan = best_.front();
    RobustSolution solution;
    solution.choice = plan.choice;
    solution.cost = plan.cost;
    solution.objective = plan.risk.risk;
    solution.mean = plan.risk.mean;
    solution.cvar = plan.risk.cvar;
    solution.lower_bound = std::min(lower_bound_, plan.risk.risk);
    solution.gap = solution.objective - solution.lower_bound;
    solution.rounds = rounds_;
    return solution;
  }

  RobustProblem problem_;
  const RobustLimits limits_;
  const size_t windows_;
  const bool one_sum_;  // the weights of windows cannot differ
  double rounding_ = 0;
  std::vector<KnapsackGroup> values_;  // the groups at the weights of a round
  double lower_bound_ = -kInfinity;
  std::vector<double> best_weights_;  // of windows in the risk, where that bound was proven
  std::vector<Plan> best_;            // by rising risk
  int rounds_ = 0;
};

}  // namespace

std::optional<RobustSolution> SolveRobustKnapsack(RobustProblem problem, const RobustLimits& limits) {
  return Solver(std::move(problem), limits).Solve();
}

}  // namespace quantmoe
