// What turns statistics and a budget into widths, as records in one table (heuristic.cc). A heuristic
// is found by its name once, where a name enters; behind that, code holds the record. All work on groups of
// linears that share one width, so a runtime profile constrains every heuristic alike.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "plan/allocate/allocation_problem.h"

namespace quantmoe {

enum class ParamType {
  kWidth,   // one of the candidate widths
  kCount,   // a whole number, not negative
  kShare,   // in [0, 1]
  kChoice,  // one of `choices`
};

struct HeuristicParam {
  std::string name;
  ParamType type = ParamType::kWidth;
  std::string description;
  std::vector<std::string> choices = {};
};

// What of the distortion table decides a plan.
enum class Statistic {
  kLoss,             // of every linear at every width
  kSensitivity,      // what the loss of a block costs at the output of the model: `probe` tasks measure it
  kCounts,           // how often the router chose an expert
  kRouterWeights,    // how much weight it gave to it
  kBlockCosine,      // how far a block turns its input
  kPredictedCosine,  // the same by a trained network: `predict` tasks train it
  kWandaScore,
  kOutlierScore,
};

using HeuristicParams = std::map<std::string, std::string>;

// The members that are references must be there, or the record does not compile.
struct Heuristic {
  std::string name;
  std::string description;
  // Infeasible when the smallest widths exceed the capacity. The parameters must have passed CheckHeuristic.
  Allocation (&run)(const AllocationProblem& problem);
  // None: shapes alone decide, so that a plan is known before anything was measured.
  std::vector<Statistic> (&statistics)(const HeuristicParams& given);
  std::vector<HeuristicParam> params;
  bool one_width =
      false;  // of all linears, as far as the budget goes for all: what is protected comes after it

  // Null when it takes no such parameter.
  const HeuristicParam* FindParam(absl::string_view param) const;
  bool Needs(Statistic statistic, const HeuristicParams& given) const;
  bool NeedsNoData(const HeuristicParams& given) const { return statistics(given).empty(); }
};

const std::vector<Heuristic>& Heuristics();
// Null when there is no heuristic of that name.
const Heuristic* FindHeuristic(absl::string_view name);

}  // namespace quantmoe
