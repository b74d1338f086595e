#include "plan/heuristics/rankings.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "plan/heuristics/split_mix.h"

namespace quantmoe {
namespace {

const RoutingCounts* FindRouting(const AllocationProblem& problem, int layer) {
  for (const RoutingCounts& routing : *problem.routing) {
    if (routing.layer == layer) return &routing;
  }
  return nullptr;
}

// The experts of a unit's rows, each once.
std::set<std::pair<int, int>> ExpertsOf(const AllocationProblem& problem,
                                        const std::vector<ChoiceGroup>& groups, const RankedUnit& unit) {
  std::set<std::pair<int, int>> experts;
  for (size_t r : RowsOf(groups, unit)) {
    const Linear& linear = problem.rows[r].row->linear;
    if (IsExpert(linear.kind)) experts.insert({linear.layer, linear.expert});
  }
  return experts;
}

template <typename T>
double At(const std::vector<T>& values, int index) {
  return index < static_cast<int>(values.size()) ? static_cast<double>(values[static_cast<size_t>(index)])
                                                 : 0;
}

}  // namespace

std::vector<RankedUnit> MakeUnits(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                                  UnitKind kind, const std::function<bool(const Linear&)>& belongs) {
  std::map<std::tuple<int, int, int>, size_t> index;
  std::vector<RankedUnit> units;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Linear& first = problem.rows[groups[g].rows.front()].row->linear;
    if (!belongs(first)) continue;
    const int expert = kind == UnitKind::kBlock ? -1 : first.expert;
    const int own = kind == UnitKind::kLinear ? static_cast<int>(g) : -1;
    const auto [at, added] = index.try_emplace({first.layer, expert, own}, units.size());
    if (added) units.push_back({{}, first.layer, first.expert, 0, 0});
    units[at->second].groups.push_back(g);
  }
  return units;
}

void ScoreUnits(std::vector<RankedUnit>& units, const UnitScore& score) {
  for (RankedUnit& unit : units) unit.score = score(unit);
}

void SortByScore(std::vector<RankedUnit>& units) {
  std::stable_sort(units.begin(), units.end(),
                   [](const RankedUnit& a, const RankedUnit& b) { return a.score > b.score; });
  std::map<int, int64_t> next;
  for (RankedUnit& unit : units) unit.place = next[unit.layer]++;
}

void SortByPlace(std::vector<RankedUnit>& units) {
  SortByScore(units);
  std::sort(units.begin(), units.end(), [](const RankedUnit& a, const RankedUnit& b) {
    return std::tie(a.place, a.layer) < std::tie(b.place, b.layer);
  });
}

std::vector<size_t> RowsOf(const std::vector<ChoiceGroup>& groups, const RankedUnit& unit) {
  std::vector<size_t> rows;
  for (size_t g : unit.groups) rows.insert(rows.end(), groups[g].rows.begin(), groups[g].rows.end());
  return rows;
}

UnitScore FrequencyScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups) {
  return [&](const RankedUnit& unit) {
    double count = 0;
    for (const auto& [layer, expert] : ExpertsOf(problem, groups, unit)) {
      const RoutingCounts* routing = FindRouting(problem, layer);
      if (routing != nullptr) count += At(routing->counts, expert);
    }
    return count;
  };
}

UnitScore RouterWeightScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups) {
  return [&](const RankedUnit& unit) {
    double weight = 0;
    for (const auto& [layer, expert] : ExpertsOf(problem, groups, unit)) {
      const RoutingCounts* routing = FindRouting(problem, layer);
      if (routing == nullptr || routing->tokens == 0) continue;
      weight += At(routing->router_weights, expert) / static_cast<double>(routing->tokens);
    }
    return weight;
  };
}

UnitScore WandaScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups) {
  return [&](const RankedUnit& unit) {
    double score = 0;
    for (size_t r : RowsOf(groups, unit)) score += problem.rows[r].row->wanda_score;
    return score;
  };
}

UnitScore OutlierScoreOf(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups) {
  return [&](const RankedUnit& unit) {
    double score = 0;
    for (size_t r : RowsOf(groups, unit)) score = std::max(score, problem.rows[r].row->outlier_score);
    return score;
  };
}

UnitScore ImportanceScore(const AllocationProblem& problem, Cosine cosine) {
  return [&problem, cosine](const RankedUnit& unit) {
    const RoutingCounts* routing = FindRouting(problem, unit.layer);
    if (routing == nullptr || routing->tokens == 0) return 0.0;
    if (cosine == Cosine::kPredicted) return -routing->predicted_cosine.value_or(0);
    const double sum = cosine == Cosine::kStream ? routing->stream_cosine : routing->ffn_cosine;
    return -sum / static_cast<double>(routing->tokens);
  };
}

UnitScore RandomScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                      uint64_t seed) {
  return [&problem, &groups, seed](const RankedUnit& unit) {
    const Linear& first = problem.rows[groups[unit.groups.front()].rows.front()].row->linear;
    uint64_t state = MixBits(seed);
    for (int part : {first.layer, first.expert, static_cast<int>(first.kind)}) {
      state = MixBits(state ^ static_cast<uint64_t>(part + 1));
    }
    return static_cast<double>(state >> 11);  // 53 bits: exact
  };
}

}  // namespace quantmoe
