#include "plan/allocate/knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace quantmoe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-12;

// An option of the group that is worth having: dearer than the one before it and better.
struct Candidate {
  int64_t cost;
  double value;
  int option;
};
using Frontier = std::vector<Candidate>;

Frontier ParetoFrontier(const KnapsackGroup& group) {
  Frontier all;
  for (size_t i = 0; i < group.size(); ++i)
    all.push_back({group[i].cost, group[i].value, static_cast<int>(i)});
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.cost, a.value, a.option) < std::tie(b.cost, b.value, b.option);
  });
  Frontier kept;
  for (const Candidate& candidate : all) {
    if (kept.empty() || candidate.value < kept.back().value) kept.push_back(candidate);
  }
  return kept;
}

// Value gained per unit of cost between two candidates.
double Slope(const Candidate& from, const Candidate& to) {
  return (from.value - to.value) / static_cast<double>(to.cost - from.cost);
}

// Indexes into the frontier of its lower convex hull; slopes fall strictly along it.
std::vector<int> HullOf(const Frontier& frontier) {
  std::vector<int> hull;
  for (int i = 0; i < static_cast<int>(frontier.size()); ++i) {
    while (hull.size() >= 2) {
      const Candidate& last = frontier[hull.back()];
      if (Slope(frontier[hull[hull.size() - 2]], last) > Slope(last, frontier[i])) break;
      hull.pop_back();
    }
    hull.push_back(i);
  }
  return hull;
}

// A step from one point of a group's hull to the next.
struct Step {
  double slope;
  int group;
  int from;  // positions in the frontier
  int to;
};

// The steps of all groups by falling slope.
std::vector<Step> CollectSteps(const std::vector<Frontier>& frontiers) {
  std::vector<Step> steps;
  for (size_t g = 0; g < frontiers.size(); ++g) {
    const std::vector<int> hull = HullOf(frontiers[g]);
    for (size_t i = 1; i < hull.size(); ++i) {
      const double slope = Slope(frontiers[g][hull[i - 1]], frontiers[g][hull[i]]);
      steps.push_back({slope, static_cast<int>(g), hull[i - 1], hull[i]});
    }
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::tie(b.slope, a.group, a.from) < std::tie(a.slope, b.group, b.from);
  });
  return steps;
}

// What the dynamic program may do with one group.
struct Core {
  int group;
  double up;    // slope of the hull just above the base choice; 0 when there is none
  double down;  // slope just below; infinite when there is none
  int kind;     // groups of one kind have the same candidates and the same base choice
};

struct State {
  int64_t cost;
  double value;
  int node;  // how it came about; -1: the base choice everywhere
};

struct Node {
  int parent;
  int group;
  int position;  // in the frontier
};

class Solver {
 public:
  Solver(const std::vector<KnapsackGroup>& groups, int64_t capacity, int64_t max_states)
      : capacity_(capacity), states_left_(max_states) {
    for (const KnapsackGroup& group : groups) frontiers_.push_back(ParetoFrontier(group));
  }

  std::optional<KnapsackSolution> Solve() {
    base_.assign(frontiers_.size(), 0);
    SumBase();
    if (base_cost_ > capacity_) return std::nullopt;
    Relax();
    const bool exact = Improve();
    return Finish(exact);
  }

 private:
  void SumBase() {
    base_cost_ = 0;
    base_value_ = 0;
    for (size_t g = 0; g < frontiers_.size(); ++g) {
      base_cost_ += frontiers_[g][base_[g]].cost;
      base_value_ += frontiers_[g][base_[g]].value;
    }
  }

  // Takes hull steps by falling slope until one does not fit: the base choice and the bound of the linear
  // relaxation. The greedy solution that goes on past that step is the first incumbent.
  void Relax() {
    const std::vector<Step> steps = CollectSteps(frontiers_);
    cores_.resize(frontiers_.size());
    for (size_t g = 0; g < cores_.size(); ++g) cores_[g] = {static_cast<int>(g), 0, kInfinity, 0};
    size_t next = 0;
    int64_t left = capacity_ - base_cost_;
    for (; next < steps.size() && CostOf(steps[next]) <= left; ++next) {
      left -= CostOf(steps[next]);
      base_[steps[next].group] = steps[next].to;
      cores_[steps[next].group].down = steps[next].slope;
    }
    SumBase();
    critical_slope_ = next < steps.size() ? steps[next].slope : 0;
    relaxed_bound_ = base_value_ - critical_slope_ * static_cast<double>(left);
    best_ = base_;
    for (size_t i = next; i < steps.size(); ++i) {
      const Step& step = steps[i];
      if (base_[step.group] == step.from) cores_[step.group].up = step.slope;
      if (best_[step.group] == step.from && CostOf(step) <= left) {
        left -= CostOf(step);
        best_[step.group] = step.to;
      }
    }
    best_value_ = ValueOf(best_);
    const double scale = std::abs(best_value_) + std::abs(base_value_);
    tolerance_ = kRounding * scale;
    noise_ = 4 * std::numeric_limits<double>::epsilon() * scale;
  }

  int64_t CostOf(const Step& step) const {
    return frontiers_[step.group][step.to].cost - frontiers_[step.group][step.from].cost;
  }

  double ValueOf(const std::vector<int>& choice) const {
    double value = 0;
    for (size_t g = 0; g < choice.size(); ++g) value += frontiers_[g][choice[g]].value;
    return value;
  }

  // Numbers the kinds of groups in the order in which they are met.
  void NumberKinds() {
    std::map<std::vector<std::pair<int64_t, double>>, int> kinds;
    for (Core& core : cores_) {
      std::vector<std::pair<int64_t, double>> key = {{base_[core.group], 0}};
      for (const Candidate& candidate : frontiers_[core.group])
        key.emplace_back(candidate.cost, candidate.value);
      core.kind = kinds.try_emplace(std::move(key), static_cast<int>(kinds.size())).first->second;
    }
  }

  // Groups whose slopes are near the critical one first, groups of one kind next to each other.
  void OrderCores() {
    NumberKinds();
    const auto distance = [this](const Core& core) {
      const double up = core.up > 0 ? critical_slope_ / core.up : kInfinity;
      const double down = critical_slope_ > 0 ? core.down / critical_slope_ : kInfinity;
      return std::min(up, down);
    };
    std::sort(cores_.begin(), cores_.end(), [&distance](const Core& a, const Core& b) {
      return std::make_tuple(distance(a), a.kind, a.group) < std::make_tuple(distance(b), b.kind, b.group);
    });
    best_up_.assign(cores_.size() + 1, 0);
    best_down_.assign(cores_.size() + 1, kInfinity);
    for (size_t i = cores_.size(); i-- > 0;) {
      best_up_[i] = std::max(best_up_[i + 1], cores_[i].up);
      best_down_[i] = std::min(best_down_[i + 1], cores_[i].down);
    }
  }

  // The least value that a state can still reach when groups from `next` on may change.
  double BoundOf(const State& state, size_t next) const {
    const double slack = static_cast<double>(capacity_ - state.cost);
    if (slack >= 0) return state.value - slack * best_up_[next];
    return best_down_[next] == kInfinity ? kInfinity : state.value - slack * best_down_[next];
  }

  bool Hopeless(double bound) const { return bound >= best_value_ - tolerance_; }

  // The dynamic program. True when the incumbent is proven; else `relaxed_bound_` is what was proven.
  bool Improve() {
    OrderCores();
    std::vector<State> states = {{base_cost_, base_value_, -1}};
    int settled_kind = -1;
    for (size_t i = 0; i < cores_.size(); ++i) {
      if (cores_[i].kind == settled_kind) continue;
      states.erase(std::remove_if(states.begin(), states.end(),
                                  [&](const State& state) { return Hopeless(BoundOf(state, i)); }),
                   states.end());
      if (states.empty()) return true;
      const int64_t work = static_cast<int64_t>(states.size() * frontiers_[cores_[i].group].size());
      states_left_ -= work;
      if (states_left_ < 0) {
        TightenBound(states, i);
        return false;
      }
      std::vector<State> next = Expand(states, i);
      // A group that changed nothing tells that its like will change nothing either.
      settled_kind = Same(states, next) ? cores_[i].kind : -1;
      states = std::move(next);
    }
    return true;
  }

  bool Same(const std::vector<State>& a, const std::vector<State>& b) const {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [this](const State& x, const State& y) {
      return x.cost == y.cost && std::abs(x.value - y.value) <= noise_;
    });
  }

  void TightenBound(const std::vector<State>& states, size_t next) {
    double least = best_value_;
    for (const State& state : states) least = std::min(least, BoundOf(state, next));
    relaxed_bound_ = std::max(relaxed_bound_, least);
  }

  // Every state with every option of one group; dominated and hopeless ones are dropped.
  std::vector<State> Expand(const std::vector<State>& states, size_t i) {
    const int group = cores_[i].group;
    const Candidate& base = frontiers_[group][base_[group]];
    std::vector<State> all;
    for (int position = 0; position < static_cast<int>(frontiers_[group].size()); ++position) {
      const Candidate& candidate = frontiers_[group][position];
      if (position != base_[group] && OptionIsHopeless(base, candidate)) continue;
      const size_t middle = all.size();
      for (const State& state : states) {
        State next{state.cost + candidate.cost - base.cost, state.value + (candidate.value - base.value),
                   state.node};
        if (Hopeless(BoundOf(next, i + 1)) && !Improves(next)) continue;
        if (position != base_[group]) next.node = AddNode(state.node, group, position);
        NoteIncumbent(next);
        all.push_back(next);
      }
      std::inplace_merge(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(middle), all.end(),
                         [](const State& a, const State& b) {
                           return std::tie(a.cost, a.value) < std::tie(b.cost, b.value);
                         });
    }
    std::vector<State> kept;
    for (const State& state : all) {
      if (kept.empty() || state.value < kept.back().value - noise_) kept.push_back(state);
    }
    return kept;
  }

  // Reduced cost: no solution with this option beats the incumbent.
  bool OptionIsHopeless(const Candidate& base, const Candidate& candidate) const {
    const double reduced =
        candidate.value - base.value + critical_slope_ * static_cast<double>(candidate.cost - base.cost);
    return Hopeless(relaxed_bound_ + reduced);
  }

  bool Improves(const State& state) const {
    return state.cost <= capacity_ && state.value < best_value_ - tolerance_;
  }

  void NoteIncumbent(const State& state) {
    if (!Improves(state)) return;
    best_value_ = state.value;
    best_node_ = state.node;
    from_states_ = true;
  }

  int AddNode(int parent, int group, int position) {
    nodes_.push_back({parent, group, position});
    return static_cast<int>(nodes_.size()) - 1;
  }

  KnapsackSolution Finish(bool exact) {
    if (from_states_) {
      best_ = base_;
      for (int n = best_node_; n >= 0; n = nodes_[n].parent) best_[nodes_[n].group] = nodes_[n].position;
    }
    KnapsackSolution solution;
    for (size_t g = 0; g < best_.size(); ++g) {
      const Candidate& chosen = frontiers_[g][best_[g]];
      solution.choice.push_back(chosen.option);
      solution.cost += chosen.cost;
      solution.value += chosen.value;
    }
    solution.exact = exact;
    solution.lower_bound = exact ? solution.value : std::min(relaxed_bound_, solution.value);
    return solution;
  }

  const int64_t capacity_;
  int64_t states_left_;
  std::vector<Frontier> frontiers_;
  std::vector<int> base_;  // position in the frontier of each group
  int64_t base_cost_ = 0;
  double base_value_ = 0;
  double critical_slope_ = 0;
  double relaxed_bound_ = 0;
  std::vector<Core> cores_;
  std::vector<double> best_up_;  // over cores from an index on
  std::vector<double> best_down_;
  std::vector<int> best_;  // the incumbent, unless it came from a state
  double best_value_ = 0;
  double tolerance_ = 0;  // of the optimum
  double noise_ = 0;      // of a sum that was made in another order
  bool from_states_ = false;
  int best_node_ = -1;
  std::vector<Node> nodes_;
};

}  // namespace

std::vector<HullPoint> KnapsackHull(const std::vector<KnapsackGroup>& groups) {
  std::vector<Frontier> frontiers;
  HullPoint point;
  for (const KnapsackGroup& group : groups) {
    frontiers.push_back(ParetoFrontier(group));
    point.cost += frontiers.back().front().cost;
    point.value += frontiers.back().front().value;
  }
  std::vector<HullPoint> hull = {point};
  for (const Step& step : CollectSteps(frontiers)) {
    const Frontier& frontier = frontiers[step.group];
    point.cost += frontier[step.to].cost - frontier[step.from].cost;
    point.value += frontier[step.to].value - frontier[step.from].value;
    hull.push_back(point);
  }
  return hull;
}

std::optional<KnapsackSolution> SolveKnapsack(const std::vector<KnapsackGroup>& groups, int64_t capacity,
                                              int64_t max_states) {
  return Solver(groups, capacity, max_states).Solve();
}

}  // namespace quantmoe
