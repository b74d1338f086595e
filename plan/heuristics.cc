#include "plan/heuristics.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "plan/knapsack.h"
#include "plan/loss.h"

namespace quantmoe {
namespace {

constexpr char kFloorText[] = "width that every linear starts with (default: the smallest candidate)";
constexpr char kRaiseText[] =
    "width that linears are raised to in the order of the ranking (default: 4, then the larger candidates)";

// Total cost and distortion of a group at each candidate width.
struct Group {
  std::vector<size_t> rows;
  KnapsackGroup options;
};

std::vector<Group> MakeGroups(const AllocationProblem& problem, Grain grain) {
  std::vector<Group> groups;
  for (std::vector<size_t>& rows : GroupRows(problem.rows, problem.profile, grain)) {
    Group group{std::move(rows), KnapsackGroup(problem.widths.size())};
    for (size_t w = 0; w < problem.widths.size(); ++w) {
      for (size_t r : group.rows) {
        const DistortionRow& row = *problem.rows[r].row;
        group.options[w].cost += problem.cost(row.linear, problem.widths[w]);
        group.options[w].value += Loss(problem.rows[r], problem.widths[w]);
      }
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

Allocation Spread(const AllocationProblem& problem, const std::vector<Group>& groups,
                  const std::vector<int>& choice) {
  Allocation allocation;
  allocation.feasible = true;
  allocation.bits.resize(problem.rows.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t r : groups[g].rows) allocation.bits[r] = problem.widths[choice[g]];
  }
  return allocation;
}

Allocation Optimal(const AllocationProblem& problem) {
  const std::vector<Group> groups = MakeGroups(problem, Grain::kLinear);
  std::vector<KnapsackGroup> items;
  for (const Group& group : groups) items.push_back(group.options);
  const std::optional<KnapsackSolution> solution = SolveKnapsack(items, problem.capacity);
  if (!solution) return {};
  Allocation allocation = Spread(problem, groups, solution->choice);
  allocation.lower_bound = solution->lower_bound;
  return allocation;
}

Allocation Uniform(const AllocationProblem& problem) {
  const std::vector<Group> groups = MakeGroups(problem, Grain::kLinear);
  for (int w = static_cast<int>(problem.widths.size()) - 1; w >= 0; --w) {
    int64_t cost = 0;
    for (const Group& group : groups) cost += group.options[w].cost;
    if (cost <= problem.capacity) return Spread(problem, groups, std::vector<int>(groups.size(), w));
  }
  return {};
}

int WidthIndex(const std::vector<int>& widths, int bits) {
  return static_cast<int>(std::find(widths.begin(), widths.end(), bits) - widths.begin());
}

// What a ranking raises to, as an index of a candidate; it starts at the first one.
struct Levels {
  int raise = 0;
  bool open = true;  // after everything is raised, larger candidates follow
};

Levels ReadLevels(const AllocationProblem& problem) {
  const std::vector<int>& widths = problem.widths;
  const int last = static_cast<int>(widths.size()) - 1;
  Levels levels;
  int bits = 0;
  const auto raise = problem.params.find("raise");
  if (raise != problem.params.end() && absl::SimpleAtoi(raise->second, &bits)) {
    levels.raise = WidthIndex(widths, bits);
    levels.open = false;
  } else {
    const int four = WidthIndex(widths, 4);
    levels.raise = four <= last && four > 0 ? four : std::min(1, last);
  }
  return levels;
}

// The common fill rule: walks the ranking and raises each group that still fits, past those that do not.
// `target` is the width of each group in the first walk; when all reached it and `open`, larger candidates
// follow in further walks.
Allocation Fill(const AllocationProblem& problem, const std::vector<Group>& groups,
                const std::vector<size_t>& ranking, const std::vector<int>& target, bool open) {
  std::vector<int> choice(groups.size(), 0);
  int64_t left = problem.capacity;
  for (const Group& group : groups) left -= group.options.front().cost;
  if (left < 0) return {};
  const auto raise = [&](size_t g, int to) {
    if (to <= choice[g]) return true;
    const int64_t cost = groups[g].options[to].cost - groups[g].options[choice[g]].cost;
    if (cost > left) return false;
    left -= cost;
    choice[g] = to;
    return true;
  };
  bool all = true;
  for (size_t g : ranking) all = raise(g, target[g]) && all;
  for (int w = 1; open && all && w < static_cast<int>(problem.widths.size()); ++w) {
    for (size_t g : ranking) all = raise(g, w) && all;
  }
  return Spread(problem, groups, choice);
}

enum class Class { kAttention, kShared, kExpert };

Class ClassOf(LinearKind kind) {
  if (IsAttention(kind)) return Class::kAttention;
  return IsShared(kind) ? Class::kShared : Class::kExpert;
}

// How often the experts of a group were chosen.
int64_t CountOf(const AllocationProblem& problem, const Group& group) {
  int64_t count = 0;
  std::set<std::pair<int, int>> seen;
  for (size_t r : group.rows) {
    const Linear& linear = problem.rows[r].row->linear;
    if (!IsExpert(linear.kind) || !seen.insert({linear.layer, linear.expert}).second) continue;
    for (const RoutingCounts& routing : *problem.routing) {
      const bool known =
          routing.layer == linear.layer && linear.expert < static_cast<int>(routing.counts.size());
      if (known) count += routing.counts[linear.expert];
    }
  }
  return count;
}

// Ranks whole classes, and inside a class by layer.
Allocation ClassFirst(const AllocationProblem& problem, const std::vector<Class>& order) {
  const std::vector<Group> groups = MakeGroups(problem, Grain::kExpert);
  std::vector<size_t> ranking;
  for (Class wanted : order) {
    for (size_t g = 0; g < groups.size(); ++g) {
      if (ClassOf(problem.rows[groups[g].rows.front()].row->linear.kind) == wanted) ranking.push_back(g);
    }
  }
  const Levels levels = ReadLevels(problem);
  return Fill(problem, groups, ranking, std::vector<int>(groups.size(), levels.raise), levels.open);
}

struct RankedExpert {
  int64_t place;  // within the layer, or 0 when the whole model is ranked at once
  int64_t count;
  size_t group;
};

// Groups of experts, the most used first: of the whole model, or place by place over the layers.
std::vector<RankedExpert> RankExperts(const AllocationProblem& problem, const std::vector<Group>& groups,
                                      bool per_layer) {
  std::vector<RankedExpert> experts;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Linear& first = problem.rows[groups[g].rows.front()].row->linear;
    if (IsExpert(first.kind))
      experts.push_back({per_layer ? first.layer : 0, CountOf(problem, groups[g]), g});
  }
  const auto by_count = [](const RankedExpert& a, const RankedExpert& b) {
    return std::tie(a.place, b.count, a.group) < std::tie(b.place, a.count, b.group);
  };
  std::sort(experts.begin(), experts.end(), by_count);
  if (!per_layer) return experts;
  int64_t layer = -1;
  int64_t place = 0;
  for (RankedExpert& expert : experts) {
    place = expert.place == layer ? place + 1 : 0;
    layer = expert.place;
    expert.place = place;
  }
  std::stable_sort(experts.begin(), experts.end(),
                   [](const RankedExpert& a, const RankedExpert& b) { return a.place < b.place; });
  return experts;
}

Allocation ExpertFrequency(const AllocationProblem& problem) {
  const std::vector<Group> groups = MakeGroups(problem, Grain::kExpert);
  const auto scope = problem.params.find("scope");
  const bool per_layer = scope == problem.params.end() || scope->second == "layer";
  const Levels levels = ReadLevels(problem);
  std::vector<int> target(groups.size(), levels.raise);
  std::vector<size_t> ranking;
  int bits = 0;
  const auto others = problem.params.find("others");
  const bool fixed = others != problem.params.end() && absl::SimpleAtoi(others->second, &bits);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (IsExpert(problem.rows[groups[g].rows.front()].row->linear.kind)) continue;
    ranking.push_back(g);
    if (fixed) target[g] = WidthIndex(problem.widths, bits);
  }
  int count = 0;
  const auto limit = problem.params.find("count");
  const bool limited = limit != problem.params.end() && absl::SimpleAtoi(limit->second, &count);
  int64_t taken = 0;
  for (const RankedExpert& expert : RankExperts(problem, groups, per_layer)) {
    if (limited && (per_layer ? expert.place : taken) >= count) break;
    ranking.push_back(expert.group);
    ++taken;
  }
  return Fill(problem, groups, ranking, target, levels.open && !limited && !fixed);
}

void CheckWidthParam(const std::string& key, const std::string& value, const std::vector<int>& widths,
                     std::vector<FieldViolation>& violations) {
  int bits = 0;
  if (absl::SimpleAtoi(value, &bits) && std::count(widths.begin(), widths.end(), bits) == 1) return;
  violations.push_back({absl::StrCat("spec.heuristic.params[", key, "]"),
                        absl::StrCat("\"", value.substr(0, 40), "\" is not one of the candidate widths ",
                                     absl::StrJoin(widths, ", "))});
}

void CheckParam(const std::string& key, const std::string& value, const std::vector<int>& widths,
                std::vector<FieldViolation>& violations) {
  const std::string field = absl::StrCat("spec.heuristic.params[", key, "]");
  if (key == "floor" || key == "raise" || key == "others") {
    CheckWidthParam(key, value, widths, violations);
  } else if (key == "scope" && value != "layer" && value != "global") {
    violations.push_back({field, absl::StrCat("\"", value.substr(0, 40), "\" is neither layer nor global")});
  } else if (int count = 0; key == "count" && (!absl::SimpleAtoi(value, &count) || count < 0)) {
    violations.push_back({field, absl::StrCat("\"", value.substr(0, 40), "\" is not a count")});
  }
}

}  // namespace

const std::vector<HeuristicDescription>& Heuristics() {
  static const auto* const kHeuristics = new std::vector<HeuristicDescription>{
      {"optimal", "The least total distortion that the budget allows, solved exactly.", {}},
      {"uniform", "The largest width that fits for all linears.", {}},
      {"attention-first",
       "Attention is raised first, then shared experts and dense layers, then experts by layer.",
       {{"floor", kFloorText}, {"raise", kRaiseText}}},
      {"shared-first",
       "Shared experts and dense layers are raised first, then attention, then experts by layer.",
       {{"floor", kFloorText}, {"raise", kRaiseText}}},
      {"expert-frequency",
       "Everything but the experts is raised first, then the experts that calibration chose most often.",
       {{"floor", kFloorText},
        {"raise", kRaiseText},
        {"scope", "layer: rank inside each layer and take place by place (default); global: one ranking"},
        {"count", "experts to raise, of each layer or of the model (default: as many as fit)"},
        {"others", "width of attention, shared experts and dense layers (default: as raise)"}}}};
  return *kHeuristics;
}

Allocation RunHeuristic(const std::string& heuristic, const AllocationProblem& problem) {
  if (heuristic == "uniform") return Uniform(problem);
  if (heuristic == "attention-first") {
    return ClassFirst(problem, {Class::kAttention, Class::kShared, Class::kExpert});
  }
  if (heuristic == "shared-first") {
    return ClassFirst(problem, {Class::kShared, Class::kAttention, Class::kExpert});
  }
  if (heuristic == "expert-frequency") return ExpertFrequency(problem);
  return Optimal(problem);
}

std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic,
                                           const std::map<std::string, std::string>& params,
                                           const std::vector<int>& widths) {
  std::vector<FieldViolation> violations;
  const auto found = std::find_if(Heuristics().begin(), Heuristics().end(),
                                  [&](const HeuristicDescription& known) { return known.name == heuristic; });
  if (found == Heuristics().end()) {
    return {{"spec.heuristic.name", absl::StrCat("\"", heuristic.substr(0, 80), "\" is unknown")}};
  }
  for (const auto& [key, value] : params) {
    if (found->params.count(key) == 0) {
      violations.push_back({absl::StrCat("spec.heuristic.params[", key.substr(0, 80), "]"),
                            absl::StrCat("is no parameter of ", heuristic)});
    } else {
      CheckParam(key, value, widths, violations);
    }
  }
  int floor = 0;
  int bits = 0;
  const auto read = [&params](const char* key, int& value) {
    return params.count(key) == 1 && absl::SimpleAtoi(params.at(key), &value);
  };
  for (const char* key : {"raise", "others"}) {
    if (read("floor", floor) && read(key, bits) && bits < floor) {
      violations.push_back({absl::StrCat("spec.heuristic.params[", key, "]"), "is below floor"});
    }
  }
  return violations;
}

}  // namespace quantmoe
