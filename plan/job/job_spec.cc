#include "plan/job/job_spec.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic_checks.h"
#include "plan/options/value_checks.h"
#include "sources/model_uri.h"

namespace quantmoe {
namespace {

// Collects violations with the path of their field.
class Violations {
 public:
  void Add(std::string field, std::string description) {
    found_.push_back({std::move(field), std::move(description)});
  }
  void Append(std::vector<FieldViolation> more) {
    std::move(more.begin(), more.end(), std::back_inserter(found_));
  }
  std::vector<FieldViolation> Take() { return std::move(found_); }

 private:
  std::vector<FieldViolation> found_;
};

void CheckModel(const JobSpec& spec, Violations& violations) {
  if (spec.model_uri.empty()) return violations.Add("spec.model.uri", "is missing");
  const absl::StatusOr<ModelUri> uri = ParseModelUri(spec.model_uri);
  if (!uri.ok()) violations.Append(GetErrorInfo(uri.status()).violations);
}

void CheckBudgetMembers(const Budget& budget, Violations& violations) {
  if (budget.members_set() != 1) {
    violations.Add("spec.budget",
                   "exactly one of average_bits, max_bytes, stored_bits and rank_bytes must be set");
  }
}

const RuntimeProfile* CheckProfile(const JobSpec& spec, Violations& violations) {
  const RuntimeProfile* profile = FindProfile(spec.runtime_profile);
  if (profile == nullptr) {
    violations.Add("spec.runtime_profile", UnknownProfile(spec.runtime_profile));
  }
  return profile;
}

void CheckGptq(const GptqSpec& gptq, const RuntimeProfile* profile, Violations& violations) {
  const RuntimeProfile& any = FreeProfile();
  const RuntimeProfile& limits = profile != nullptr ? *profile : any;
  const auto has = [](const std::vector<int>& list, int value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (gptq.group_size != 0 && !has(limits.group_sizes, gptq.group_size)) {
    violations.Add("spec.gptq.group_size", absl::StrCat("is ", gptq.group_size, ", must be 0 or one of ",
                                                        absl::StrJoin(limits.group_sizes, ", ")));
  }
  if (limits.symmetric_only && gptq.scales == ScaleRule::kSigned) {
    violations.Add("spec.gptq.scales",
                   absl::StrCat("signed scales need zero points that ", limits.name, " cannot load"));
  }
  std::set<int> seen;
  for (size_t i = 0; i < gptq.widths.size(); ++i) {
    const std::string field = absl::StrCat("spec.gptq.widths[", i, "]");
    const int width = gptq.widths[i];
    if (!has(any.widths, width)) {
      violations.Add(field, absl::StrCat("is ", width, ", must be one of ", absl::StrJoin(any.widths, ", ")));
    } else if (!seen.insert(width).second) {
      violations.Add(field, absl::StrCat("repeats ", width));
    }
  }
  if (CandidateWidths(gptq.widths, limits).empty()) {
    violations.Add("spec.gptq.widths", absl::StrCat("has none of ", absl::StrJoin(limits.widths, ", "),
                                                    ", which the profile ", limits.name, " can load"));
  }
}

void CheckEvaluation(const EvaluationSpec& evaluation, Violations& violations) {
  if (evaluation.window == 1)
    violations.Add("spec.evaluation.window", "is 1; a window predicts from its second token");
  std::set<std::string> seen;
  for (size_t i = 0; i < evaluation.tasks.size(); ++i) {
    const std::string& name = evaluation.tasks[i].name;
    if (!seen.insert(name).second)
      violations.Add(absl::StrCat("spec.evaluation.tasks[", i, "].name"),
                     absl::StrCat("repeats ", name.substr(0, 80)));
  }
}

}  // namespace

const RuntimeProfile& ProfileOf(const JobSpec& spec) { return ProfileNamed(spec.runtime_profile); }

const Heuristic& HeuristicOf(const JobSpec& spec) { return *FindHeuristic(spec.heuristic); }

std::vector<int> PlanWidths(const JobSpec& spec) {
  std::vector<int> widths = CandidateWidths(spec.gptq.widths, ProfileOf(spec));
  const auto found = spec.heuristic_params.find("floor");
  int floor = 0;
  if (found != spec.heuristic_params.end() && absl::SimpleAtoi(found->second, &floor)) {
    widths.erase(widths.begin(), std::lower_bound(widths.begin(), widths.end(), floor));
  }
  return widths;
}

std::vector<FieldViolation> CheckJobSpec(const JobSpec& spec) {
  Violations violations;
  violations.Append(CheckValues(spec));
  CheckModel(spec, violations);
  CheckBudgetMembers(spec.budget, violations);
  const RuntimeProfile* profile = CheckProfile(spec, violations);
  violations.Append(CheckHeuristic(spec.heuristic, spec.heuristic_params,
                                   CandidateWidths(spec.gptq.widths, ProfileOf(spec))));
  violations.Append(CheckRules(spec.rules));
  CheckGptq(spec.gptq, profile, violations);
  CheckEvaluation(spec.evaluation, violations);
  return violations.Take();
}

}  // namespace quantmoe
