#include "plan/job/job_allocation.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/artifact_size.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/expert_ranks.h"
#include "plan/allocate/loss.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic_checks.h"
#include "plan/heuristics/protection.h"

namespace quantmoe {
namespace {

std::vector<Linear> LinearsOf(const std::vector<TableRow>& rows) {
  std::vector<Linear> linears;
  for (const TableRow& row : rows) linears.push_back(row.row->linear);
  return linears;
}

absl::Status CheckRows(const std::vector<TableRow>& rows, const std::vector<int>& widths, int group_size) {
  if (rows.empty()) return absl::InvalidArgumentError("the distortion table has no rows");
  absl::flat_hash_set<std::string> names;
  for (const TableRow& row : rows) {
    const Linear& linear = row.row->linear;
    if (!names.insert(linear.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("the distortion table has two rows for ", linear.name));
    }
    if (group_size == 0 || linear.in % group_size != 0) {
      return InvalidFields({{"spec.gptq.group_size",
                             absl::StrCat("is ", group_size, ", which does not divide the input width ",
                                          linear.in, " of ", linear.name)}});
    }
    for (int width : widths) {
      const auto facts = row.row->widths.find(width);
      if (facts == row.row->widths.end() || !std::isfinite(facts->second.distortion)) {
        return absl::InvalidArgumentError(absl::StrCat("the distortion table has no finite distortion of ",
                                                       linear.name, " at ", width, " bits"));
      }
    }
  }
  return absl::OkStatus();
}

// Widths that a plan may use and, when none were asked, that the table has.
std::vector<int> WidthsOf(const JobSpec& spec, const std::vector<TableRow>& rows) {
  std::vector<int> widths = PlanWidths(spec);
  if (!spec.gptq.widths.empty()) return widths;
  std::erase_if(widths,
                [&rows](int width) { return !rows.empty() && rows.front().row->widths.count(width) == 0; });
  return widths;
}

absl::Status CheckQuestion(const JobSpec& spec, const std::vector<int>& widths) {
  std::vector<FieldViolation> violations = CheckHeuristic(spec.heuristic, spec.heuristic_params,
                                                          CandidateWidths(spec.gptq.widths, ProfileOf(spec)));
  if (FindProfile(spec.runtime_profile) == nullptr) {
    violations.push_back({"spec.runtime_profile", UnknownProfile(spec.runtime_profile)});
  }
  if (spec.budget.members_set() != 1) {
    violations.push_back(
        {"spec.budget", "exactly one of average_bits, max_bytes, stored_bits and rank_bytes must be set"});
  }
  for (FieldViolation& violation : CheckRules(spec.rules)) violations.push_back(std::move(violation));
  if (widths.empty()) {
    violations.push_back({"spec.gptq.widths", "the distortion table has no width that the profile can load"});
  }
  return InvalidFields(std::move(violations));
}

double FallbackRatio(const std::vector<TableRow>& rows) {
  const auto fell =
      std::count_if(rows.begin(), rows.end(), [](const TableRow& row) { return !row.row->fallback.empty(); });
  return static_cast<double>(fell) / static_cast<double>(rows.size());
}

void AddLinears(const AllocationInputs& inputs, const std::vector<int>& widths, ScaleRule scales,
                BitPlan& plan) {
  for (size_t r = 0; r < widths.size(); ++r) {
    const DistortionRow& row = *inputs.rows[r].row;
    const auto blob = inputs.rows[r].part->blobs.find(widths[r]);
    plan.linears.push_back({row.linear, widths[r],
                            blob == inputs.rows[r].part->blobs.end() ? Digest{} : blob->second,
                            Loss(inputs.rows[r], widths[r], ParseObjective(plan.objective)), row.method,
                            row.fallback, !AllowsNegative(scales, widths[r])});
  }
}

PlanProtection ProtectionOf(const AllocationInputs& inputs, const BitPlan& plan, double weights) {
  PlanProtection protection;
  for (const PlannedLinear& planned : plan.linears) {
    if (!MakesMassive(planned.linear, inputs.super_experts)) continue;
    ++protection.linears;
    const auto own = static_cast<double>(planned.linear.weights());
    protection.weights_share += own / weights;
    protection.bits += planned.width * own / weights;
  }
  return protection;
}

void AddFigures(const AllocationInputs& inputs, BitPlan& plan) {
  double weights = 0;
  double code_bits = 0;
  double stored_bits = 0;
  for (const PlannedLinear& planned : plan.linears) {
    weights += static_cast<double>(planned.linear.weights());
    code_bits += static_cast<double>(planned.width * planned.linear.weights());
    for (const TensorInfo& tensor : PackedTensors(planned.linear, planned.width, plan.group_size)) {
      stored_bits += 8.0 * static_cast<double>(tensor.data_bytes());
    }
    plan.loss += planned.loss;
  }
  plan.protection = ProtectionOf(inputs, plan, weights);
  plan.average_bits = code_bits / weights;
  plan.stored_bits = stored_bits / weights;
  plan.fallback_ratio = FallbackRatio(inputs.rows);
}

int64_t RankBytesOf(const AllocationInputs& inputs, const std::vector<int>& widths, int ranks) {
  absl::flat_hash_map<absl::string_view, int> width_of;
  for (size_t r = 0; r < widths.size(); ++r) width_of[inputs.linears[r].name] = widths[r];
  return FullestRankBytes(
      inputs.linears, inputs.kept, [&width_of](const Linear& linear) { return width_of.at(linear.name); },
      inputs.group_size, ExpertRanks(inputs.linears, ranks));
}

// The loss of the same heuristic in the same budget when every linear is free and every solved width can be
// loaded: what the profile costs is the difference. 0 when the profile constrains nothing.
double UnconstrainedLoss(const DistortionTable& table, const JobSpec& spec, const AllocationInputs& inputs,
                         double constrained) {
  if (ProfileOf(spec).free()) return 0;
  JobSpec free = spec;
  free.runtime_profile = FreeProfile().name;
  const absl::StatusOr<AllocationProblem> problem = MakeProblem(table, free, inputs);
  if (!problem.ok()) return 0;
  const Allocation allocation = AllocateWithin(spec.budget, HeuristicOf(spec), inputs, *problem);
  double loss = 0;
  for (size_t r = 0; r < allocation.widths.size(); ++r) {
    loss += Loss(inputs.rows[r], allocation.widths[r], problem->objective);
  }
  // A plan that weighs windows may lose less in the sum where it is less free.
  return allocation.feasible ? std::min(loss, constrained) : constrained;
}

}  // namespace

AllocationInputs MakeInputs(const DistortionTable& table, const JobSpec& spec,
                            const std::vector<TensorInfo>& kept) {
  std::vector<TableRow> rows = SortRows(table);
  std::vector<Linear> linears = LinearsOf(rows);
  const int group_size = spec.gptq.group_size == 0 ? DefaultGroupSize(linears) : spec.gptq.group_size;
  // A group size of 0 is refused by MakeProblem, before anyone asks for sizes.
  WeightFileSizes sizes = group_size > 0 ? WeightFileSizes(linears, kept, group_size) : WeightFileSizes();
  std::vector<SuperExpert> protect;
  if (ProtectsSuperExperts(spec)) protect = FindSuperExperts(table.streams);
  return {std::move(rows), std::move(linears), kept, group_size, std::move(sizes), std::move(protect)};
}

absl::StatusOr<AllocationProblem> MakeProblem(const DistortionTable& table, const JobSpec& spec,
                                              const AllocationInputs& inputs) {
  AllocationProblem problem;
  problem.rows = inputs.rows;
  problem.profile = &ProfileOf(spec);
  problem.widths = WidthsOf(spec, inputs.rows);
  problem.routing = &table.routing;
  problem.params = spec.heuristic_params;
  const auto objective = spec.heuristic_params.find("objective");
  if (objective != spec.heuristic_params.end()) problem.objective = ParseObjective(objective->second);
  RETURN_IF_ERROR(CheckQuestion(spec, problem.widths));
  RETURN_IF_ERROR(CheckRows(inputs.rows, problem.widths, inputs.group_size));
  RETURN_IF_ERROR(CheckStatistics(HeuristicOf(spec), problem));
  ASSIGN_OR_RETURN(problem.allowed, ApplyRules(inputs.linears, spec.rules, problem.widths, *problem.profile));
  Protect(spec.budget, HeuristicOf(spec), inputs, problem);
  return problem;
}

BitPlan DescribePlan(const AllocationInputs& inputs, const JobSpec& spec, Objective objective,
                     const std::vector<int>& widths) {
  BitPlan plan;
  plan.heuristic = spec.heuristic;
  plan.objective = ObjectiveName(objective);
  plan.profile = spec.runtime_profile;
  plan.group_size = inputs.group_size;
  AddLinears(inputs, widths, spec.gptq.scales, plan);
  AddFigures(inputs, plan);
  plan.weight_file_bytes = inputs.sizes.Bytes(widths);
  if (spec.budget.rank_bytes) plan.rank_bytes = RankBytesOf(inputs, widths, spec.budget.rank_bytes->ranks);
  return plan;
}

absl::Status CheckFallbacks(double ratio, double limit) {
  if (ratio <= limit) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "TOO_MANY_FALLBACKS",
                   absl::StrCat("a share of ", ratio, " of the linears fell back to rounding, more than ",
                                limit, "; give more calibration tokens"),
                   {{"ratio", absl::StrCat(ratio)}, {"limit", absl::StrCat(limit)}});
}

absl::StatusOr<BitPlan> Allocate(const DistortionTable& table, const JobSpec& spec,
                                 const std::vector<TensorInfo>& kept) {
  return Allocate(table, spec, MakeInputs(table, spec, kept));
}

absl::StatusOr<BitPlan> Allocate(const DistortionTable& table, const JobSpec& spec,
                                 const AllocationInputs& inputs) {
  ASSIGN_OR_RETURN(const AllocationProblem problem, MakeProblem(table, spec, inputs));
  RETURN_IF_ERROR(CheckFallbacks(FallbackRatio(inputs.rows), spec.gptq.max_fallback_ratio));
  const int ranks = spec.budget.rank_bytes ? spec.budget.rank_bytes->ranks : 0;
  if (ranks > 0) RETURN_IF_ERROR(ExpertRanks(inputs.linears, ranks).Check());
  const SizeBounds bounds =
      BoundSizes(inputs.linears, inputs.kept, problem.allowed, inputs.group_size, ranks, inputs.sizes);
  RETURN_IF_ERROR(CheckBudget(spec.budget, bounds));

  // The smallest plan fits, so every heuristic finds one.
  const Allocation allocation = AllocateWithin(spec.budget, HeuristicOf(spec), inputs, problem);
  BitPlan plan = DescribePlan(inputs, spec, problem.objective, allocation.widths);
  plan.lower_bound = allocation.lower_bound;
  plan.risk = allocation.risk;
  plan.unconstrained_loss = UnconstrainedLoss(table, spec, inputs, plan.loss);
  return plan;
}

}  // namespace quantmoe
