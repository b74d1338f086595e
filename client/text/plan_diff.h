// Compares two plans: which widths changed, by kind and by layer, and what it means in bytes and loss. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct ComparedLinear {
  std::string name;
  std::string kind;
  int layer = 0;
  int64_t weights = 0;
  int width = 0;
  double loss = 0;
};

struct ComparedPlan {
  std::string title;
  std::string heuristic;
  std::string objective;
  int64_t bytes = 0;  // of all weight files; 0 when the document does not say
  double average_bits = 0;
  std::vector<ComparedLinear> linears;
};

// Reads quantmoe_plan.json, the plan of `quantmoe-local allocate`, or a job's report. INVALID_ARGUMENT names
// `title`.
absl::StatusOr<ComparedPlan> ReadComparedPlan(const std::string& title, absl::string_view json);

// INVALID_ARGUMENT when the plans are not of the same linears; names the first that differs.
absl::StatusOr<std::string> PlanDiffJson(const ComparedPlan& a, const ComparedPlan& b);

// The result of PlanDiffJson for a terminal; `linears` adds one row per change.
std::string RenderPlanDiff(absl::string_view diff_json, bool linears);

}  // namespace quantmoe
