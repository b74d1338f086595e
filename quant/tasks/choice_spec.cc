#include "quant/tasks/choice_spec.h"

#include "base/status_macros.h"
#include "plan/job/job_spec_json.h"

namespace quantmoe {

absl::StatusOr<JobSpec> ReadChoiceSpec(const TaskArguments& arguments) {
  JobSpec spec;
  ASSIGN_OR_RETURN(const nlohmann::json budget, arguments.Param<nlohmann::json>("budget"));
  ASSIGN_OR_RETURN(const nlohmann::json rules, arguments.Param<nlohmann::json>("rules"));
  spec.budget = BudgetFromJson(budget);
  spec.rules = RulesFromJson(rules);
  ASSIGN_OR_RETURN(spec.heuristic, arguments.Param<std::string>("heuristic"));
  ASSIGN_OR_RETURN(spec.heuristic_params, (arguments.Param<std::map<std::string, std::string>>("params")));
  ASSIGN_OR_RETURN(spec.runtime_profile, arguments.Param<std::string>("profile"));
  ASSIGN_OR_RETURN(spec.gptq.max_fallback_ratio, arguments.Param<double>("max_fallback_ratio"));
  ASSIGN_OR_RETURN(spec.gptq.group_size, arguments.Param<int>("group_size"));
  return spec;
}

}  // namespace quantmoe
