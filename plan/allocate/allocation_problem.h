// What a heuristic is asked, in one accounting for all of them: groups of linears that share a width, what
// each width costs, and how much there is to spend.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/allocate/choice_groups.h"
#include "plan/allocate/distortion_table.h"
#include "plan/allocate/expert_ranks.h"
#include "plan/allocate/knapsack.h"
#include "plan/allocate/loss.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/allocate/width_rules.h"

namespace quantmoe {

struct AllocationProblem {
  std::vector<TableRow> rows;  // in canonical order
  const RuntimeProfile* profile = &FreeProfile();
  std::vector<int> widths;  // candidates from the floor on, ascending
  AllowedWidths allowed;    // of each row, a subset of `widths`
  std::function<int64_t(const Linear&, int width)> cost;
  int64_t capacity = 0;  // in units of `cost`, of each rank
  // Expert-parallel ranks: the rank that holds each row, or kEveryRank. With one rank, kEveryRank for all.
  int ranks = 1;
  std::function<int(const Linear&)> rank_of = [](const Linear&) { return kEveryRank; };
  const std::vector<RoutingCounts>* routing = nullptr;
  std::map<std::string, std::string> params;
  Objective objective = Objective::kMeasured;
};

// What a plan risks over the windows of the probes' sample, in the unit of the loss.
struct PlanRisk {
  double risk = 0;  // tail_risk.h: the mean of all windows and that of the worst tenth, by the weight asked
  double mean = 0;
  double cvar = 0;
  double lower_bound = 0;  // no plan within the capacity risks less
  int windows = 0;

  friend bool operator==(const PlanRisk&, const PlanRisk&) = default;
};

struct Allocation {
  bool feasible = false;
  std::vector<int> widths;  // of each row
  double lower_bound = 0;   // of the loss of any plan within the capacity; 0: none given
  std::optional<PlanRisk> risk = {};
};

// Linears that share one width.
struct ChoiceGroup {
  std::vector<size_t> rows;
  int rank = kEveryRank;    // which rank pays `cost`
  std::vector<int> widths;  // allowed widths, ascending
  KnapsackGroup options;    // for each of `widths`: cost on a rank that pays, and loss

  // Index of the largest allowed width up to `wanted`; 0 when all are larger.
  int LevelFor(int wanted) const;
};

std::vector<ChoiceGroup> MakeGroups(const AllocationProblem& problem, Grain grain);

// The plan that gives each group the width `widths[choice]`.
Allocation Spread(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                  const std::vector<int>& choice);

}  // namespace quantmoe
