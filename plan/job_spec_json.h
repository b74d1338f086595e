// The canonical JSON value of a spec, for documents that contain one.
#pragma once

#include "nlohmann/json.hpp"
#include "plan/job_spec.h"

namespace quantmoe {

nlohmann::json JobSpecJson(const JobSpec& spec);
nlohmann::json BudgetJson(const Budget& budget);

}  // namespace quantmoe
