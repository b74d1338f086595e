#include "plan/heuristics/heuristics.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "plan/allocate/rank_knapsack.h"
#include "plan/heuristics/fill_rule.h"
#include "plan/heuristics/heuristic_catalog.h"
#include "plan/heuristics/rankings.h"

namespace quantmoe {
namespace {

std::optional<int> IntParam(const AllocationProblem& problem, const char* name) {
  const auto found = problem.params.find(name);
  int value = 0;
  if (found == problem.params.end() || !absl::SimpleAtoi(found->second, &value)) return std::nullopt;
  return value;
}

std::string TextParam(const AllocationProblem& problem, const char* name, const char* fallback) {
  const auto found = problem.params.find(name);
  return found == problem.params.end() ? fallback : found->second;
}

Allocation Optimal(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  std::vector<RankGroup> items;
  for (const ChoiceGroup& group : groups) items.push_back({group.rank, group.options});
  const std::optional<KnapsackSolution> solution = SolveRankKnapsack(items, problem.ranks, problem.capacity);
  if (!solution) return {};
  Allocation allocation = Spread(problem, groups, solution->choice);
  allocation.lower_bound = solution->lower_bound;
  return allocation;
}

// Linears that may not have the width keep the nearest one below, or their smallest.
Allocation Uniform(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  for (auto width = problem.widths.rbegin(); width != problem.widths.rend(); ++width) {
    std::vector<int64_t> left(static_cast<size_t>(problem.ranks), problem.capacity);
    std::vector<int> choice;
    for (const ChoiceGroup& group : groups) {
      choice.push_back(group.LevelFor(*width));
      for (size_t r = 0; r < left.size(); ++r) {
        const bool pays = group.rank == kEveryRank || group.rank == static_cast<int>(r);
        if (pays) left[r] -= group.options[static_cast<size_t>(choice.back())].cost;
      }
    }
    const bool fits = std::all_of(left.begin(), left.end(), [](int64_t rest) { return rest >= 0; });
    if (fits) return Spread(problem, groups, choice);
  }
  return {};
}

// One width for all as far as it goes, and the next one for the first layers.
Allocation LayersInOrder(const AllocationProblem& problem) {
  const std::vector<ChoiceGroup> groups = MakeGroups(problem, Grain::kLinear);
  std::vector<RaiseUnit> order;
  for (size_t g = 0; g < groups.size(); ++g) order.push_back({{g}, problem.widths.front()});
  return Fill(problem, groups, order, /*open=*/true);
}

// What a ranking raises to.
struct Levels {
  int raise = 0;
  bool open = true;  // after everything is raised, larger candidates follow
};

Levels ReadLevels(const AllocationProblem& problem) {
  const std::vector<int>& widths = problem.widths;
  if (const auto raise = IntParam(problem, "raise")) return {*raise, false};
  const bool four = widths.front() < 4 && std::count(widths.begin(), widths.end(), 4) > 0;
  return {four ? 4 : widths[std::min<size_t>(1, widths.size() - 1)], true};
}

bool IsRouted(const Linear& linear) { return IsExpert(linear.kind); }

// A ranking under construction.
class Ranking {
 public:
  Ranking(const AllocationProblem& problem, Grain grain)
      : problem_(problem), groups_(MakeGroups(problem, grain)), levels_(ReadLevels(problem)) {}

  const std::vector<ChoiceGroup>& groups() const { return groups_; }

  std::vector<RankedUnit> Units(UnitKind kind, const std::function<bool(const Linear&)>& belongs = IsRouted) {
    return MakeUnits(problem_, groups_, kind, belongs);
  }

  // Attention, shared experts and dense layers at their own widths, by layer.
  void AddOthers() {
    for (const RankedUnit& unit : Units(UnitKind::kLinear, [](const Linear& l) { return !IsRouted(l); })) {
      units_.push_back({unit.groups, OthersBits(unit)});
    }
    for (const char* name : {"others", "attention", "shared", "dense"}) {
      levels_.open = levels_.open && !IntParam(problem_, name);
    }
  }

  // The first `count` of them, or all.
  void Add(const std::vector<RankedUnit>& units, std::optional<int> count = std::nullopt) {
    if (count) levels_.open = false;
    int left = count.value_or(static_cast<int>(units.size()));
    for (const RankedUnit& unit : units) {
      if (left-- > 0) units_.push_back({unit.groups, levels_.raise});
    }
  }

  // Those among the first `count` of their layer.
  void AddTop(const std::vector<RankedUnit>& units, std::optional<int> count) {
    if (count) levels_.open = false;
    for (const RankedUnit& unit : units) {
      if (!count || unit.place < *count) units_.push_back({unit.groups, levels_.raise});
    }
  }

  Allocation Spend() const { return Fill(problem_, groups_, units_, levels_.open); }

 private:
  int OthersBits(const RankedUnit& unit) const {
    const LinearKind kind = problem_.rows[groups_[unit.groups.front()].rows.front()].row->linear.kind;
    const bool dense = kind >= LinearKind::kDenseGate && kind <= LinearKind::kDenseDown;
    const char* own = IsAttention(kind) ? "attention" : dense ? "dense" : "shared";
    if (const auto bits = IntParam(problem_, own)) return *bits;
    return IntParam(problem_, "others").value_or(levels_.raise);
  }

  const AllocationProblem& problem_;
  const std::vector<ChoiceGroup> groups_;
  Levels levels_;
  std::vector<RaiseUnit> units_;
};

// Ranks whole classes, and inside a class by layer.
Allocation ClassFirst(const AllocationProblem& problem, bool attention_first) {
  Ranking ranking(problem, Grain::kExpert);
  const auto attention = [](const Linear& l) { return IsAttention(l.kind); };
  const auto shared = [](const Linear& l) { return IsShared(l.kind); };
  ranking.Add(attention_first ? ranking.Units(UnitKind::kLinear, attention)
                              : ranking.Units(UnitKind::kLinear, shared));
  ranking.Add(attention_first ? ranking.Units(UnitKind::kLinear, shared)
                              : ranking.Units(UnitKind::kLinear, attention));
  ranking.Add(ranking.Units(UnitKind::kExpert));
  return ranking.Spend();
}

using MakeScore = UnitScore (*)(const AllocationProblem&, const std::vector<ChoiceGroup>&);

Allocation RankExperts(const AllocationProblem& problem, MakeScore make_score) {
  Ranking ranking(problem, Grain::kExpert);
  ranking.AddOthers();
  std::vector<RankedUnit> experts = ranking.Units(UnitKind::kExpert);
  ScoreUnits(experts, make_score(problem, ranking.groups()));
  if (TextParam(problem, "scope", "layer") == "global") {
    SortByScore(experts);
    ranking.Add(experts, IntParam(problem, "count"));
  } else {
    SortByPlace(experts);
    ranking.AddTop(experts, IntParam(problem, "count"));
  }
  return ranking.Spend();
}

UnitScore BlockScore(const AllocationProblem& problem) {
  const bool trained = TextParam(problem, "estimate", "exact") == "trained";
  const bool stream = TextParam(problem, "similarity", "ffn") == "stream";
  return ImportanceScore(problem, trained ? Cosine::kPredicted : stream ? Cosine::kStream : Cosine::kBlock);
}

Allocation RankBlocks(const AllocationProblem& problem, const std::string& heuristic) {
  Ranking ranking(problem, Grain::kExpert);
  ranking.AddOthers();
  std::vector<RankedUnit> blocks = ranking.Units(UnitKind::kBlock);
  if (heuristic == "last-blocks") std::reverse(blocks.begin(), blocks.end());
  if (heuristic == "block-importance") {
    ScoreUnits(blocks, BlockScore(problem));
    SortByScore(blocks);
  }
  ranking.Add(blocks, IntParam(problem, "count"));
  return ranking.Spend();
}

Allocation RankOutliers(const AllocationProblem& problem) {
  Ranking ranking(problem, Grain::kLinear);
  const bool all = TextParam(problem, "scope", "routed") == "all";
  if (!all) ranking.AddOthers();
  std::vector<RankedUnit> linears = all ? ranking.Units(UnitKind::kLinear, [](const Linear&) { return true; })
                                        : ranking.Units(UnitKind::kLinear);
  ScoreUnits(linears, OutlierScoreOf(problem, ranking.groups()));
  SortByScore(linears);
  std::optional<int> count;
  double share = 0;
  // QuantMoE-Bench raises the first ceil(N alpha).
  if (absl::SimpleAtod(TextParam(problem, "share", ""), &share)) {
    count = static_cast<int>(std::ceil(share * static_cast<double>(linears.size())));
  }
  ranking.Add(linears, count);
  return ranking.Spend();
}

Allocation Combined(const AllocationProblem& problem) {
  Ranking ranking(problem, Grain::kExpert);
  ranking.AddOthers();
  std::vector<RankedUnit> blocks = ranking.Units(UnitKind::kBlock);
  if (TextParam(problem, "order", "first") == "importance") {
    ScoreUnits(blocks, BlockScore(problem));
    SortByScore(blocks);
  }
  const size_t taken = std::min(blocks.size(), static_cast<size_t>(IntParam(problem, "blocks").value_or(5)));
  blocks.resize(taken);
  ranking.Add(blocks);
  std::vector<RankedUnit> experts = ranking.Units(UnitKind::kExpert);
  std::erase_if(experts, [&blocks](const RankedUnit& expert) {
    return std::any_of(blocks.begin(), blocks.end(),
                       [&expert](const RankedUnit& block) { return block.layer == expert.layer; });
  });
  ScoreUnits(experts, FrequencyScore(problem, ranking.groups()));
  SortByPlace(experts);
  ranking.AddTop(experts, IntParam(problem, "count"));
  return ranking.Spend();
}

Allocation OneProjection(const AllocationProblem& problem) {
  const std::string which = TextParam(problem, "which", "gate");
  const LinearKind kind = which == "up"     ? LinearKind::kExpertUp
                          : which == "down" ? LinearKind::kExpertDown
                                            : LinearKind::kExpertGate;
  Ranking ranking(problem, Grain::kLinear);
  ranking.AddOthers();
  ranking.Add(ranking.Units(UnitKind::kLinear, [kind](const Linear& l) { return l.kind == kind; }));
  return ranking.Spend();
}

Allocation Random(const AllocationProblem& problem) {
  const std::string unit = TextParam(problem, "unit", "expert");
  Ranking ranking(problem, unit == "linear" ? Grain::kLinear : Grain::kExpert);
  ranking.AddOthers();
  std::vector<RankedUnit> units = ranking.Units(unit == "linear"  ? UnitKind::kLinear
                                                : unit == "block" ? UnitKind::kBlock
                                                                  : UnitKind::kExpert);
  const auto seed = static_cast<uint64_t>(IntParam(problem, "seed").value_or(42));
  ScoreUnits(units, RandomScore(problem, ranking.groups(), seed));
  if (TextParam(problem, "scope", "global") == "layer") {
    SortByPlace(units);
    ranking.AddTop(units, IntParam(problem, "count"));
  } else {
    SortByScore(units);
    ranking.Add(units, IntParam(problem, "count"));
  }
  return ranking.Spend();
}

// What is wrong with the value, or nothing.
std::string CheckValue(const HeuristicParam& param, const std::string& value,
                       const std::vector<int>& widths) {
  const std::string shown = absl::StrCat("\"", value.substr(0, 40), "\"");
  int number = 0;
  double share = 0;
  switch (param.type) {
    case ParamType::kWidth:
      if (absl::SimpleAtoi(value, &number) && std::count(widths.begin(), widths.end(), number) == 1)
        return "";
      return absl::StrCat(shown, " is not one of the candidate widths ", absl::StrJoin(widths, ", "));
    case ParamType::kCount:
      return absl::SimpleAtoi(value, &number) && number >= 0 ? "" : shown + " is not a count";
    case ParamType::kShare:
      return absl::SimpleAtod(value, &share) && share >= 0 && share <= 1 ? "" : shown + " is not in [0, 1]";
    case ParamType::kChoice:
      break;
  }
  if (std::count(param.choices.begin(), param.choices.end(), value) == 1) return "";
  return absl::StrCat(shown, " is none of ", absl::StrJoin(param.choices, ", "));
}

std::string ParamField(const std::string& key) {
  return absl::StrCat("spec.heuristic.params[", key.substr(0, 80), "]");
}

}  // namespace

Allocation RunHeuristic(const std::string& heuristic, const AllocationProblem& problem) {
  if (heuristic == "uniform") return Uniform(problem);
  if (heuristic == "in-order") return LayersInOrder(problem);
  if (heuristic == "attention-first") return ClassFirst(problem, /*attention_first=*/true);
  if (heuristic == "shared-first") return ClassFirst(problem, /*attention_first=*/false);
  if (heuristic == "expert-frequency") return RankExperts(problem, FrequencyScore);
  if (heuristic == "router-weight") return RankExperts(problem, RouterWeightScore);
  if (heuristic == "wanda") return RankExperts(problem, WandaScore);
  if (heuristic == "outlier") return RankOutliers(problem);
  if (heuristic == "combined") return Combined(problem);
  if (heuristic == "projection") return OneProjection(problem);
  if (heuristic == "random") return Random(problem);
  if (heuristic == "optimal") return Optimal(problem);
  return RankBlocks(problem, heuristic);
}

std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic,
                                           const std::map<std::string, std::string>& params,
                                           const std::vector<int>& widths) {
  const HeuristicRecord* record = FindHeuristic(heuristic);
  if (record == nullptr) {
    const auto add = [](std::string* out, const HeuristicRecord& known) { out->append(known.name); };
    return {{"spec.heuristic.name", absl::StrCat("\"", heuristic.substr(0, 80), "\" is unknown; known are ",
                                                 absl::StrJoin(HeuristicCatalog(), ", ", add))}};
  }
  std::vector<FieldViolation> violations;
  for (const auto& [key, value] : params) {
    const HeuristicParam* param = record->Find(key);
    const std::string problem =
        param == nullptr ? absl::StrCat("is no parameter of ", heuristic) : CheckValue(*param, value, widths);
    if (!problem.empty()) violations.push_back({ParamField(key), problem});
  }
  int floor = 0;
  int bits = 0;
  const auto read = [&params](const char* key, int& value) {
    return params.count(key) == 1 && absl::SimpleAtoi(params.at(key), &value);
  };
  for (const char* key : {"raise", "others", "attention", "shared", "dense"}) {
    if (read("floor", floor) && read(key, bits) && bits < floor) {
      violations.push_back({ParamField(key), "is below floor"});
    }
  }
  if (PredictsImportance(heuristic, params) && params.count("similarity") == 1 &&
      params.at("similarity") != "ffn") {
    violations.push_back({ParamField("estimate"), "trained predicts similarity=ffn only"});
  }
  return violations;
}

bool PredictsImportance(const std::string& heuristic, const std::map<std::string, std::string>& params) {
  const auto is = [&params](const char* key, const char* value) {
    const auto found = params.find(key);
    return found != params.end() && found->second == value;
  };
  const bool by_block =
      heuristic == "block-importance" || (heuristic == "combined" && is("order", "importance"));
  return by_block && is("estimate", "trained");
}

absl::Status CheckStatistics(const std::string& heuristic, const AllocationProblem& problem) {
  const auto has_experts = [&problem](const auto& lacks) {
    return std::any_of(problem.rows.begin(), problem.rows.end(), [&](const TableRow& row) {
      return IsExpert(row.row->linear.kind) && lacks(*row.row);
    });
  };
  const auto lacks_routing = [&problem](const auto& lacks) {
    return [&problem, lacks](const DistortionRow& row) {
      return std::none_of(
          problem.routing->begin(), problem.routing->end(),
          [&](const RoutingCounts& routing) { return routing.layer == row.linear.layer && !lacks(routing); });
    };
  };
  std::string missing;
  const auto param = problem.params.find("order");
  const bool by_block =
      heuristic == "block-importance" ||
      (heuristic == "combined" && param != problem.params.end() && param->second == "importance");
  if (by_block && has_experts(lacks_routing([](const RoutingCounts& r) { return r.tokens == 0; }))) {
    missing = "ffn_cosine";
  }
  if (PredictsImportance(heuristic, problem.params) &&
      has_experts(lacks_routing([](const RoutingCounts& r) { return !r.predicted_cosine; }))) {
    missing = "predicted_cosine";
  }
  if (heuristic == "router-weight" &&
      has_experts(lacks_routing([](const RoutingCounts& r) { return r.router_weights.empty(); }))) {
    missing = "router_weights";
  }
  if ((heuristic == "expert-frequency" || heuristic == "combined") &&
      has_experts(lacks_routing([](const RoutingCounts& r) { return r.counts.empty(); }))) {
    missing = "counts";
  }
  const bool no_wanda = std::all_of(problem.rows.begin(), problem.rows.end(),
                                    [](const TableRow& row) { return row.row->wanda_score == 0; });
  if (heuristic == "wanda" && no_wanda) missing = "wanda_score";
  if (missing.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "STATISTICS_MISSING",
                   absl::StrCat("the distortion table has no ", missing, ", which ", heuristic,
                                " ranks by; make it again"),
                   {{"heuristic", heuristic}, {"statistic", missing}});
}

}  // namespace quantmoe
