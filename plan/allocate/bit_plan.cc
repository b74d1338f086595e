#include "plan/allocate/bit_plan.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "plan/allocate/artifact_size.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/expert_ranks.h"
#include "plan/allocate/loss.h"
#include "plan/heuristics/budgeted_allocation.h"
#include "plan/job/allocation_question.h"

namespace quantmoe {
namespace {

double FallbackRatio(const std::vector<TableRow>& rows) {
  const auto fell =
      std::count_if(rows.begin(), rows.end(), [](const TableRow& row) { return !row.row->fallback.empty(); });
  return static_cast<double>(fell) / static_cast<double>(rows.size());
}

void AddLinears(const AllocationInputs& inputs, const std::vector<int>& bits, ScaleRule scales,
                BitPlan& plan) {
  for (size_t r = 0; r < bits.size(); ++r) {
    const DistortionRow& row = *inputs.rows[r].row;
    const auto blob = inputs.rows[r].part->blobs.find(bits[r]);
    plan.linears.push_back({row.linear, bits[r],
                            blob == inputs.rows[r].part->blobs.end() ? Digest{} : blob->second,
                            Loss(inputs.rows[r], bits[r], ParseObjective(plan.objective)), row.method,
                            row.fallback, !AllowsNegative(scales, bits[r])});
  }
}

void AddFigures(const AllocationInputs& inputs, BitPlan& plan) {
  double weights = 0;
  double code_bits = 0;
  double stored_bits = 0;
  for (const PlannedLinear& planned : plan.linears) {
    weights += static_cast<double>(planned.linear.weights());
    code_bits += static_cast<double>(planned.bits * planned.linear.weights());
    for (const TensorInfo& tensor : PackedTensors(planned.linear, planned.bits, plan.group_size)) {
      stored_bits += 8.0 * static_cast<double>(tensor.data_bytes());
    }
    plan.distortion += planned.distortion;
  }
  plan.average_bits = code_bits / weights;
  plan.stored_bits = stored_bits / weights;
  plan.fallback_ratio = FallbackRatio(inputs.rows);
}

int64_t RankBytesOf(const AllocationInputs& inputs, const std::vector<int>& bits, int ranks) {
  absl::flat_hash_map<absl::string_view, int> bits_of;
  for (size_t r = 0; r < bits.size(); ++r) bits_of[inputs.linears[r].name] = bits[r];
  return FullestRankBytes(
      inputs.linears, inputs.kept, [&bits_of](const Linear& linear) { return bits_of.at(linear.name); },
      inputs.group_size, ExpertRanks(inputs.linears, ranks));
}

// The loss of the same heuristic in the same budget when every linear is free and every solved width can be
// loaded: what the profile costs is the difference. 0 when the profile constrains nothing.
double UnconstrainedDistortion(const DistortionTable& table, const JobSpec& spec,
                               const AllocationInputs& inputs, double constrained) {
  if (spec.runtime_profile == "any" || spec.runtime_profile == "gptqmodel") return 0;
  JobSpec free = spec;
  free.runtime_profile = "any";
  const absl::StatusOr<AllocationProblem> problem = MakeProblem(table, free, inputs);
  if (!problem.ok()) return 0;
  const Allocation allocation = AllocateWithin(spec.budget, spec.heuristic, inputs, *problem);
  double distortion = 0;
  for (size_t r = 0; r < allocation.bits.size(); ++r) {
    distortion += Loss(inputs.rows[r], allocation.bits[r], problem->objective);
  }
  return allocation.feasible ? distortion : constrained;
}

}  // namespace

BitPlan DescribePlan(const AllocationInputs& inputs, const JobSpec& spec, Objective objective,
                     const std::vector<int>& bits) {
  BitPlan plan;
  plan.heuristic = spec.heuristic;
  plan.objective = ObjectiveName(objective);
  plan.profile = spec.runtime_profile;
  plan.group_size = inputs.group_size;
  AddLinears(inputs, bits, spec.gptq.scales, plan);
  AddFigures(inputs, plan);
  plan.weight_file_bytes = PlanFileBytes(inputs, bits);
  if (spec.budget.rank_bytes) plan.rank_bytes = RankBytesOf(inputs, bits, spec.budget.rank_bytes->ranks);
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
  const AllocationInputs inputs = MakeInputs(table, spec, kept);
  ASSIGN_OR_RETURN(const AllocationProblem problem, MakeProblem(table, spec, inputs));
  RETURN_IF_ERROR(CheckFallbacks(FallbackRatio(inputs.rows), spec.gptq.max_fallback_ratio));
  const int ranks = spec.budget.rank_bytes ? spec.budget.rank_bytes->ranks : 0;
  if (ranks > 0) RETURN_IF_ERROR(ExpertRanks(inputs.linears, ranks).Check());
  const SizeBounds bounds = BoundSizes(inputs.linears, kept, problem.allowed, inputs.group_size, ranks);
  RETURN_IF_ERROR(CheckBudget(spec.budget, bounds));

  // The smallest plan fits, so every heuristic finds one.
  const Allocation allocation = AllocateWithin(spec.budget, spec.heuristic, inputs, problem);
  BitPlan plan = DescribePlan(inputs, spec, problem.objective, allocation.bits);
  plan.lower_bound = allocation.lower_bound;
  plan.unconstrained_distortion = UnconstrainedDistortion(table, spec, inputs, plan.distortion);
  return plan;
}

}  // namespace quantmoe
