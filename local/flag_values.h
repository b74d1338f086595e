// Budgets and NAME=VALUE pairs as they are typed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>

#include "plan/job_spec.h"

namespace quantmoe {

struct BudgetFlags {
  std::string budget;
  std::vector<std::string> params;
};

void AddBudgetFlags(CLI::App& command, BudgetFlags& flags);

// "3.0" is average bits; "400MB", "2GiB" or a whole number with the suffix B is bytes. INVALID_FIELD
// otherwise.
absl::StatusOr<Budget> ParseBudget(const BudgetFlags& flags);
// "NAME=VALUE" texts of a repeated flag; INVALID_FIELD names `flag`.
absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::vector<std::string>& pairs,
                                                              const std::string& flag);

}  // namespace quantmoe
