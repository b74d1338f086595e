#include "plan/heuristics/ranking_heuristics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"

#include "plan/heuristics/fill_rule.h"
#include "plan/heuristics/heuristic_params.h"
#include "plan/heuristics/rankings.h"

namespace quantmoe {
namespace {

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
    if (const auto width = IntParam(problem_, own)) return *width;
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

enum class BlockOrder { kFirst, kLast, kImportance };

Allocation RankBlocks(const AllocationProblem& problem, BlockOrder order) {
  Ranking ranking(problem, Grain::kExpert);
  ranking.AddOthers();
  std::vector<RankedUnit> blocks = ranking.Units(UnitKind::kBlock);
  if (order == BlockOrder::kLast) std::reverse(blocks.begin(), blocks.end());
  if (order == BlockOrder::kImportance) {
    ScoreUnits(blocks, BlockScore(problem));
    SortByScore(blocks);
  }
  ranking.Add(blocks, IntParam(problem, "count"));
  return ranking.Spend();
}

}  // namespace

Allocation AttentionFirst(const AllocationProblem& problem) {
  return ClassFirst(problem, /*attention_first=*/true);
}
Allocation SharedFirst(const AllocationProblem& problem) {
  return ClassFirst(problem, /*attention_first=*/false);
}
Allocation ExpertFrequency(const AllocationProblem& problem) { return RankExperts(problem, FrequencyScore); }
Allocation RouterWeight(const AllocationProblem& problem) { return RankExperts(problem, RouterWeightScore); }
Allocation Wanda(const AllocationProblem& problem) { return RankExperts(problem, WandaScore); }
Allocation FirstBlocks(const AllocationProblem& problem) { return RankBlocks(problem, BlockOrder::kFirst); }
Allocation LastBlocks(const AllocationProblem& problem) { return RankBlocks(problem, BlockOrder::kLast); }
Allocation BlockImportance(const AllocationProblem& problem) {
  return RankBlocks(problem, BlockOrder::kImportance);
}

Allocation Outlier(const AllocationProblem& problem) {
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

Allocation RandomOrder(const AllocationProblem& problem) {
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

}  // namespace quantmoe
