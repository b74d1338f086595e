// The canonical JSON value of a spec, for documents that contain one.
#pragma once

#include "nlohmann/json.hpp"
#include "plan/job/job_spec.h"

namespace quantmoe {

nlohmann::json JobSpecJson(const JobSpec& spec);
nlohmann::json BudgetJson(const Budget& budget);
nlohmann::json RulesJson(const std::vector<WidthRule>& rules);
// Throw std::exception, for DecodeJson.
Budget BudgetFromJson(const nlohmann::json& json);
std::vector<WidthRule> RulesFromJson(const nlohmann::json& json);

}  // namespace quantmoe
