#include "plan/bit_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "plan/artifact_size.h"
#include "plan/budget.h"
#include "plan/candidate_widths.h"
#include "plan/choice_groups.h"
#include "plan/heuristics.h"
#include "plan/loss.h"

namespace quantmoe {
namespace {

constexpr int kMaxTightenings = 64;

std::vector<Linear> LinearsOf(const std::vector<TableRow>& rows) {
  std::vector<Linear> linears;
  for (const TableRow& row : rows) linears.push_back(row.row->linear);
  return linears;
}

// Everything that stays the same while a budget in bytes is approached.
struct Inputs {
  std::vector<TableRow> rows;
  std::vector<Linear> linears;
  const std::vector<TensorInfo>& kept;
  int group_size = 0;
};

int64_t FileBytes(const Inputs& inputs, const std::vector<int>& bits) {
  absl::flat_hash_map<std::string, int> bits_of;
  for (size_t r = 0; r < bits.size(); ++r) bits_of[inputs.linears[r].name] = bits[r];
  return WeightFileBytes(LayOutWeightFiles(
      inputs.linears, inputs.kept, [&bits_of](const Linear& linear) { return bits_of.at(linear.name); },
      inputs.group_size));
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

// The asked widths, or those that the table has and the profile allows.
std::vector<int> WidthsOf(const JobSpec& spec, const std::vector<TableRow>& rows) {
  std::vector<int> widths = CandidateWidths(spec.gptq.widths, spec.runtime_profile);
  if (!spec.gptq.widths.empty()) return widths;
  const auto missing = [&rows](int width) {
    return !rows.empty() && rows.front().row->widths.count(width) == 0;
  };
  widths.erase(std::remove_if(widths.begin(), widths.end(), missing), widths.end());
  return widths;
}

// Widths below the heuristic's floor are no candidates.
void DropBelowFloor(const JobSpec& spec, std::vector<int>& widths) {
  const auto found = spec.heuristic_params.find("floor");
  int floor = 0;
  if (found == spec.heuristic_params.end() || !absl::SimpleAtoi(found->second, &floor)) return;
  widths.erase(widths.begin(), std::lower_bound(widths.begin(), widths.end(), floor));
}

absl::Status CheckQuestion(const JobSpec& spec, const std::vector<int>& widths) {
  std::vector<FieldViolation> violations = CheckHeuristic(spec.heuristic, spec.heuristic_params, widths);
  if (FindProfile(spec.runtime_profile) == nullptr) {
    violations.push_back({"spec.runtime_profile", absl::StrCat("\"", spec.runtime_profile, "\" is unknown")});
  }
  if (spec.budget.average_bits.has_value() == spec.budget.max_bytes.has_value()) {
    violations.push_back({"spec.budget", "exactly one of average_bits and max_bytes must be set"});
  }
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

absl::Status CheckFallbacks(double ratio, double limit) {
  if (ratio <= limit) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "TOO_MANY_FALLBACKS",
                   absl::StrCat("a share of ", ratio, " of the linears fell back to rounding, more than ",
                                limit, "; give more calibration tokens"),
                   {{"ratio", absl::StrCat(ratio)}, {"limit", absl::StrCat(limit)}});
}

Allocation AllocateBits(const JobSpec& spec, const Inputs& inputs, AllocationProblem problem) {
  int64_t weights = 0;
  for (const Linear& linear : inputs.linears) weights += linear.weights();
  problem.cost = [](const Linear& linear, int bits) { return bits * linear.weights(); };
  problem.capacity = AverageBitsCapacity(*spec.budget.average_bits, weights);
  return RunHeuristic(spec.heuristic, problem);
}

// Bytes of the files that do not depend on the widths, from below: offsets in headers have fewer digits in
// smaller plans, padding takes at most 7 bytes, and when there are several files every offset may start again
// at one digit.
int64_t FixedBytes(const Inputs& inputs, const AllocationProblem& problem, int64_t smallest,
                   int64_t max_bytes) {
  int64_t fixed = smallest - 8;
  for (const Linear& linear : inputs.linears) fixed -= problem.cost(linear, problem.widths.front());
  const int64_t tensors = static_cast<int64_t>(4 * inputs.linears.size() + inputs.kept.size());
  return max_bytes > kMaxWeightFileBytes ? fixed - 18 * tensors - 4096 : fixed;
}

int64_t CostOf(const Inputs& inputs, const AllocationProblem& problem, const std::vector<int>& bits) {
  int64_t cost = 0;
  for (size_t r = 0; r < bits.size(); ++r) cost += problem.cost(inputs.linears[r], bits[r]);
  return cost;
}

// A budget in bytes is met by solving for the part that the widths decide, and, while the laid out files are
// too large by some digits of a header, solving again for that much less. The bound of the first solution
// holds for all.
Allocation AllocateBytes(const JobSpec& spec, const Inputs& inputs, int64_t smallest,
                         AllocationProblem problem) {
  std::map<std::tuple<int64_t, int64_t, int>, int64_t> costs;
  problem.cost = [&costs, &inputs](const Linear& linear, int bits) {
    const auto [at, added] = costs.try_emplace({linear.out, linear.in, bits}, 0);
    if (added) at->second = WidthBytes(linear, bits, inputs.group_size);
    return at->second;
  };
  const int64_t max_bytes = *spec.budget.max_bytes;
  problem.capacity = max_bytes - FixedBytes(inputs, problem, smallest, max_bytes);
  double lower_bound = 0;
  for (int i = 0; i < kMaxTightenings; ++i) {
    Allocation allocation = RunHeuristic(spec.heuristic, problem);
    if (!allocation.feasible) break;
    if (i == 0) lower_bound = allocation.lower_bound;
    const int64_t excess = FileBytes(inputs, allocation.bits) - max_bytes;
    if (excess <= 0) {
      allocation.lower_bound = lower_bound;
      return allocation;
    }
    problem.capacity = CostOf(inputs, problem, allocation.bits) - excess;
  }
  Allocation least;
  least.feasible = true;
  least.bits.assign(inputs.rows.size(), problem.widths.front());
  least.lower_bound = lower_bound;
  return least;
}

void AddLinears(const Inputs& inputs, const std::vector<int>& bits, BitPlan& plan) {
  for (size_t r = 0; r < bits.size(); ++r) {
    const DistortionRow& row = *inputs.rows[r].row;
    const auto blob = inputs.rows[r].part->blobs.find(bits[r]);
    plan.linears.push_back({row.linear, bits[r],
                            blob == inputs.rows[r].part->blobs.end() ? Digest{} : blob->second,
                            Loss(inputs.rows[r], bits[r]), row.method, row.fallback});
  }
}

void AddFigures(const Inputs& inputs, BitPlan& plan) {
  double weights = 0;
  double code_bits = 0;
  double stored_bits = 0;
  for (const PlannedLinear& planned : plan.linears) {
    weights += static_cast<double>(planned.linear.weights());
    code_bits += static_cast<double>(planned.bits * planned.linear.weights());
    for (const TensorInfo& tensor : PackedTensors(planned.linear, planned.bits, plan.group_size)) {
      stored_bits += 8.0 * static_cast<double>(tensor.elements() * DTypeBytes(tensor.dtype));
    }
    plan.distortion += planned.distortion;
  }
  plan.average_bits = code_bits / weights;
  plan.stored_bits = stored_bits / weights;
  plan.fallback_ratio = FallbackRatio(inputs.rows);
}

}  // namespace

std::vector<TensorInfo> KeptTensors(const ModelSpec& spec, const Checkpoint& checkpoint) {
  absl::flat_hash_set<std::string> quantized;
  for (const Linear& linear : ListLinears(spec)) quantized.insert(linear.name + ".weight");
  std::vector<TensorInfo> kept;
  for (const auto& [name, location] : checkpoint.tensors()) {
    if (!quantized.contains(name)) kept.push_back(location.info);
  }
  return kept;
}

absl::StatusOr<BitPlan> Allocate(const DistortionTable& table, const JobSpec& spec,
                                 const std::vector<TensorInfo>& kept) {
  Inputs inputs{SortRows(table), {}, kept, spec.gptq.group_size};
  inputs.linears = LinearsOf(inputs.rows);
  if (inputs.group_size == 0) inputs.group_size = DefaultGroupSize(inputs.linears);
  AllocationProblem problem;
  problem.rows = inputs.rows;
  problem.profile = spec.runtime_profile;
  problem.widths = WidthsOf(spec, inputs.rows);
  problem.routing = &table.routing;
  problem.params = spec.heuristic_params;
  RETURN_IF_ERROR(CheckQuestion(spec, problem.widths));
  DropBelowFloor(spec, problem.widths);
  RETURN_IF_ERROR(CheckRows(inputs.rows, problem.widths, inputs.group_size));
  RETURN_IF_ERROR(CheckFallbacks(FallbackRatio(inputs.rows), spec.gptq.max_fallback_ratio));
  const SizeBounds bounds = BoundSizes(inputs.linears, kept, problem.widths, inputs.group_size);
  RETURN_IF_ERROR(CheckBudget(spec.budget, bounds));

  // The smallest plan fits, so every heuristic finds one.
  const Allocation allocation = spec.budget.max_bytes
                                    ? AllocateBytes(spec, inputs, bounds.minimum_bytes, problem)
                                    : AllocateBits(spec, inputs, problem);
  BitPlan plan;
  plan.heuristic = spec.heuristic;
  plan.profile = spec.runtime_profile;
  plan.group_size = inputs.group_size;
  plan.lower_bound = allocation.lower_bound;
  AddLinears(inputs, allocation.bits, plan);
  AddFigures(inputs, plan);
  plan.weight_file_bytes = FileBytes(inputs, allocation.bits);
  return plan;
}

}  // namespace quantmoe
