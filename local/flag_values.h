// Budgets and NAME=VALUE pairs as they are typed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>

#include "plan/job/job_spec.h"

namespace quantmoe {

// What decides a plan: budget, heuristic, profile and rules.
struct PlanFlags {
  std::string budget;  // "3.0" is average bits; "400MB", "2GiB" or a whole number with the suffix B is bytes
  std::string bytes;   // the latter alone
  double stored_bits = 0;
  std::string rank_bytes;
  int ranks = 0;
  std::string heuristic;  // empty: optimal, or the preset's
  std::string preset;
  std::vector<std::string> params;
  std::string profile;
  std::vector<std::string> pins, floors, ceilings, protected_patterns;
};

void AddPlanFlags(CLI::App& command, PlanFlags& flags);
// Sets the members of the spec that the flags speak of. INVALID_FIELD names flags.
absl::Status ReadPlanFlags(const PlanFlags& flags, JobSpec& spec);

// "NAME=VALUE" texts of a repeated flag; INVALID_FIELD names `flag`.
absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::vector<std::string>& pairs,
                                                              const std::string& flag);

}  // namespace quantmoe
