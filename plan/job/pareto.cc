#include "plan/job/pareto.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "plan/allocate/budget.h"
#include "plan/allocate/loss.h"
#include "plan/heuristics/global_heuristics.h"
#include "plan/heuristics/heuristic.h"
#include "plan/job/job_allocation.h"
#include "plan/options/heuristic_names.h"

namespace quantmoe {
namespace {

using nlohmann::json;

constexpr size_t kMaxHullPoints = 200;

// The question of the front: the least total loss, by the objective that the job asked for.
JobSpec FrontSpec(JobSpec spec) {
  std::map<std::string, std::string> params;
  const Heuristic* asked = FindHeuristic(spec.heuristic);
  const auto objective = spec.heuristic_params.find("objective");
  const bool optimal = asked != nullptr && (asked->run == Optimal || asked->run == OptimalAdditive);
  if (optimal && objective != spec.heuristic_params.end()) params.insert(*objective);
  spec.heuristic = kAdditiveHeuristic;
  spec.heuristic_params = std::move(params);
  // What was refused for too many fallbacks had no artifact; a front of it is still worth seeing.
  spec.gptq.max_fallback_ratio = 1;
  return spec;
}

ParetoPoint PointOf(const BitPlan& plan) {
  return {plan.weight_file_bytes, plan.average_bits, plan.stored_bits, plan.loss, plan.lower_bound};
}

absl::StatusOr<BitPlan> PlanAt(const DistortionTable& table, JobSpec spec, const AllocationInputs& inputs,
                               int64_t max_bytes) {
  spec.budget = {};
  spec.budget.max_bytes = max_bytes;
  return Allocate(table, spec, inputs);
}

// Corners of the relaxation; every so many when there are more than anyone can see.
std::vector<HullPoint> TraceHull(const AllocationInputs& inputs, AllocationProblem problem,
                                 int64_t max_bytes) {
  Budget budget;
  budget.max_bytes = max_bytes;
  SetCosts(budget, inputs, problem);
  std::vector<KnapsackGroup> items;
  for (const ChoiceGroup& group : MakeGroups(problem, Grain::kLinear)) items.push_back(group.options);
  const std::vector<HullPoint> all = KnapsackHull(items);
  const int64_t fixed = max_bytes - problem.capacity;
  const size_t stride = (all.size() + kMaxHullPoints - 1) / kMaxHullPoints;
  std::vector<HullPoint> hull;
  for (size_t i = 0; i < all.size(); i += stride) hull.push_back({all[i].cost + fixed, all[i].value});
  if ((all.size() - 1) % stride != 0) hull.push_back({all.back().cost + fixed, all.back().value});
  return hull;
}

json PointJson(const ParetoPoint& point) {
  return {{"bytes", point.bytes},
          {"average_bits", point.average_bits},
          {"stored_bits", point.stored_bits},
          {"loss", point.loss},
          {"lower_bound", point.lower_bound}};
}

}  // namespace

absl::StatusOr<ParetoFront> TraceFront(const DistortionTable& table, const JobSpec& job_spec,
                                       const std::vector<TensorInfo>& kept, int points) {
  JobSpec spec = FrontSpec(job_spec);
  spec.budget = {};
  spec.budget.average_bits = 8;
  const AllocationInputs inputs = MakeInputs(table, spec, kept);
  ASSIGN_OR_RETURN(const AllocationProblem problem, MakeProblem(table, spec, inputs));
  const SizeBounds bounds =
      BoundSizes(inputs.linears, kept, problem.allowed, inputs.group_size, /*ranks=*/0, inputs.sizes);
  ParetoFront front;
  front.objective = ObjectiveName(problem.objective);
  front.profile = spec.runtime_profile;
  for (int i = 0; i < points; ++i) {
    const int64_t range = bounds.maximum_bytes - bounds.minimum_bytes;
    ASSIGN_OR_RETURN(const BitPlan plan,
                     PlanAt(table, spec, inputs, bounds.minimum_bytes + range * i / std::max(points - 1, 1)));
    front.points.push_back(PointOf(plan));
  }
  front.hull = TraceHull(inputs, problem, bounds.maximum_bytes);
  JobSpec uniform = spec;
  uniform.heuristic = kUniformHeuristic;
  uniform.heuristic_params.clear();
  for (int width : problem.widths) {
    uniform.budget.average_bits = width;
    const absl::StatusOr<BitPlan> plan = Allocate(table, uniform, inputs);
    if (!plan.ok()) continue;  // a rule asks for more than this width
    ASSIGN_OR_RETURN(ParetoPoint point, PlacePlan(table, job_spec, *plan));
    if (front.uniform.empty() || front.uniform.back().bytes != point.bytes) front.uniform.push_back(point);
  }
  return front;
}

absl::StatusOr<ParetoPoint> PlacePlan(const DistortionTable& table, const JobSpec& job_spec,
                                      const BitPlan& plan) {
  const JobSpec spec = FrontSpec(job_spec);
  const auto asked = spec.heuristic_params.find("objective");
  const Objective objective =
      asked == spec.heuristic_params.end() ? Objective::kMeasured : ParseObjective(asked->second);
  absl::flat_hash_map<std::string, int> widths;
  for (const PlannedLinear& planned : plan.linears) widths[planned.linear.name] = planned.width;
  ParetoPoint point{plan.weight_file_bytes, plan.average_bits, plan.stored_bits, 0, 0};
  const std::vector<TableRow> rows = SortRows(table);
  for (const TableRow& row : rows) {
    const auto found = widths.find(row.row->linear.name);
    if (found == widths.end() || row.row->widths.count(found->second) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plan gives ", row.row->linear.name, " no width that the table has"));
    }
    point.loss += Loss(row, found->second, objective);
  }
  if (widths.size() == rows.size()) return point;
  return absl::InvalidArgumentError("the plan has linears that the table has not");
}

std::string ParetoFrontToJson(const ParetoFront& front) {
  json points = json::array(), uniform = json::array(), hull = json::array(), measured = json::array();
  for (const ParetoPoint& point : front.points) points.push_back(PointJson(point));
  for (const ParetoPoint& point : front.uniform) uniform.push_back(PointJson(point));
  for (const HullPoint& corner : front.hull) hull.push_back({{"bytes", corner.cost}, {"loss", corner.value}});
  for (const MeasuredPoint& point : front.measured) {
    json item = PointJson(point.point);
    item["job"] = point.name;
    item["heuristic"] = point.heuristic;
    item["perplexity"] = point.perplexity;
    measured.push_back(std::move(item));
  }
  return json{{"objective", front.objective},
              {"profile", front.profile},
              {"points", std::move(points)},
              {"hull", std::move(hull)},
              {"uniform", std::move(uniform)},
              {"measured", std::move(measured)},
              {"original_perplexity",
               front.original_perplexity > 0 ? json(front.original_perplexity) : json(nullptr)}}
      .dump();
}

}  // namespace quantmoe
