#include "plan/job/allocation_question.h"

#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/allocate/bit_plan.h"
#include "plan/allocate/candidate_widths.h"
#include "plan/heuristics/heuristics.h"

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
  std::vector<FieldViolation> violations = CheckHeuristic(
      spec.heuristic, spec.heuristic_params, CandidateWidths(spec.gptq.widths, spec.runtime_profile));
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

}  // namespace

AllocationInputs MakeInputs(const DistortionTable& table, const JobSpec& spec,
                            const std::vector<TensorInfo>& kept) {
  AllocationInputs inputs{SortRows(table), {}, kept, spec.gptq.group_size};
  inputs.linears = LinearsOf(inputs.rows);
  if (inputs.group_size == 0) inputs.group_size = DefaultGroupSize(inputs.linears);
  return inputs;
}

absl::StatusOr<AllocationProblem> MakeProblem(const DistortionTable& table, const JobSpec& spec,
                                              const AllocationInputs& inputs) {
  AllocationProblem problem;
  problem.rows = inputs.rows;
  problem.profile = spec.runtime_profile;
  problem.widths = WidthsOf(spec, inputs.rows);
  problem.routing = &table.routing;
  problem.params = spec.heuristic_params;
  const auto objective = spec.heuristic_params.find("objective");
  if (objective != spec.heuristic_params.end()) problem.objective = ParseObjective(objective->second);
  RETURN_IF_ERROR(CheckQuestion(spec, problem.widths));
  RETURN_IF_ERROR(CheckRows(inputs.rows, problem.widths, inputs.group_size));
  RETURN_IF_ERROR(CheckStatistics(spec.heuristic, problem));
  ASSIGN_OR_RETURN(problem.allowed,
                   ApplyRules(inputs.linears, spec.rules, problem.widths, spec.runtime_profile));
  return problem;
}

}  // namespace quantmoe
