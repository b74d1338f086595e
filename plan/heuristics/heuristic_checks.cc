#include "plan/heuristics/heuristic_checks.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

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

// The name of a field of the table that some layer with experts lacks.
template <typename Lacks>
bool SomeLayerLacks(const AllocationProblem& problem, const Lacks& lacks) {
  return std::any_of(problem.rows.begin(), problem.rows.end(), [&](const TableRow& row) {
    const Linear& linear = row.row->linear;
    return IsExpert(linear.kind) &&
           std::none_of(problem.routing->begin(), problem.routing->end(), [&](const RoutingCounts& routing) {
             return routing.layer == linear.layer && !lacks(routing);
           });
  });
}

// The field of the table that is missing, or nothing. Losses and outlier scores are in every table.
const char* MissingField(Statistic statistic, const AllocationProblem& problem) {
  using Routing = const RoutingCounts&;
  switch (statistic) {
    case Statistic::kCounts:
      return SomeLayerLacks(problem, [](Routing r) { return r.counts.empty(); }) ? "counts" : nullptr;
    case Statistic::kRouterWeights:
      return SomeLayerLacks(problem, [](Routing r) { return r.router_weights.empty(); }) ? "router_weights"
                                                                                         : nullptr;
    case Statistic::kBlockCosine:
      return SomeLayerLacks(problem, [](Routing r) { return r.tokens == 0; }) ? "ffn_cosine" : nullptr;
    case Statistic::kPredictedCosine:
      return SomeLayerLacks(problem, [](Routing r) { return !r.predicted_cosine; }) ? "predicted_cosine"
                                                                                    : nullptr;
    case Statistic::kWandaScore:
      return std::all_of(problem.rows.begin(), problem.rows.end(),
                         [](const TableRow& row) { return row.row->wanda_score == 0; })
                 ? "wanda_score"
                 : nullptr;
    case Statistic::kLoss:
    case Statistic::kSensitivity:
    case Statistic::kOutlierScore:
      break;
  }
  return nullptr;
}

}  // namespace

std::vector<FieldViolation> CheckHeuristic(const std::string& heuristic, const HeuristicParams& params,
                                           const std::vector<int>& widths) {
  const Heuristic* record = FindHeuristic(heuristic);
  if (record == nullptr) {
    const auto add = [](std::string* out, const Heuristic& known) { out->append(known.name); };
    return {{"spec.heuristic.name", absl::StrCat("\"", heuristic.substr(0, 80), "\" is unknown; known are ",
                                                 absl::StrJoin(Heuristics(), ", ", add))}};
  }
  std::vector<FieldViolation> violations;
  for (const auto& [key, value] : params) {
    const HeuristicParam* param = record->FindParam(key);
    const std::string problem =
        param == nullptr ? absl::StrCat("is no parameter of ", heuristic) : CheckValue(*param, value, widths);
    if (!problem.empty()) violations.push_back({ParamField(key), problem});
  }
  int floor = 0;
  int width = 0;
  const auto read = [&params](const char* key, int& value) {
    return params.count(key) == 1 && absl::SimpleAtoi(params.at(key), &value);
  };
  for (const char* key : {"raise", "others", "attention", "shared", "dense"}) {
    if (read("floor", floor) && read(key, width) && width < floor) {
      violations.push_back({ParamField(key), "is below floor"});
    }
  }
  if (record->Needs(Statistic::kPredictedCosine, params) && params.count("similarity") == 1 &&
      params.at("similarity") != "ffn") {
    violations.push_back({ParamField("estimate"), "trained predicts similarity=ffn only"});
  }
  return violations;
}

absl::Status CheckStatistics(const Heuristic& heuristic, const AllocationProblem& problem) {
  for (const Statistic statistic : heuristic.statistics(problem.params)) {
    const char* missing = MissingField(statistic, problem);
    if (missing == nullptr) continue;
    return MakeError(absl::StatusCode::kFailedPrecondition, "STATISTICS_MISSING",
                     absl::StrCat("the distortion table has no ", missing, ", which ", heuristic.name,
                                  " ranks by; make it again"),
                     {{"heuristic", heuristic.name}, {"statistic", missing}});
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
