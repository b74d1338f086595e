// The orders in which rankings raise units. QuantMoE-Bench (arXiv 2406.08155) and its scripts are the source
// of the scores; docs/heuristics.md says which is which.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

// Indexes of groups that are raised together, and where they stand.
struct RankedUnit {
  std::vector<size_t> groups;
  int layer = 0;   // of its first row
  int expert = 0;  // of its first row; -1: none
  double score = 0;
  int64_t place = 0;  // within its layer by falling score, from 0
};

enum class UnitKind { kLinear, kExpert, kBlock };

// The groups that `belongs` accepts (by their first linear), taken together by `kind`, in the order of the
// model.
std::vector<RankedUnit> MakeUnits(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                                  UnitKind kind, const std::function<bool(const Linear&)>& belongs);

// Sets every unit's score.
using UnitScore = std::function<double(const RankedUnit&)>;
void ScoreUnits(std::vector<RankedUnit>& units, const UnitScore& score);

// Falling scores; ties keep the order of the model. Sets every unit's place.
void SortByScore(std::vector<RankedUnit>& units);
// The best of every layer, then the second best of every layer, and so on.
void SortByPlace(std::vector<RankedUnit>& units);

// Rows of the unit.
std::vector<size_t> RowsOf(const std::vector<ChoiceGroup>& groups, const RankedUnit& unit);

// Scores. Each holds references to its arguments.
// How often calibration chose the unit's experts.
UnitScore FrequencyScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups);
// Sum of their mean router weights.
UnitScore RouterWeightScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups);
// Sum of mean(|W_ij| sqrt(H_jj)) over the unit's linears.
UnitScore WandaScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups);
// Largest max_j (max_i |W_ij| / mean_i |W_ij|) of the unit's linears.
UnitScore OutlierScoreOf(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups);
// Which cosine of what enters and leaves: of the feed-forward block, of the whole layer's stream, or the
// block's as a trained network predicts it.
enum class Cosine { kBlock, kStream, kPredicted };
// Minus the mean cosine of the unit's layer.
UnitScore ImportanceScore(const AllocationProblem& problem, Cosine cosine);
// A number that only the seed and the unit's place in the model decide.
UnitScore RandomScore(const AllocationProblem& problem, const std::vector<ChoiceGroup>& groups,
                      uint64_t seed);

}  // namespace quantmoe
