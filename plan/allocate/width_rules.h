// What the user says about the width of some linears: pins, floors, ceilings and protection, by pattern.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/error_info.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/model/linears.h"
#include "plan/options/width_rule.h"

namespace quantmoe {

// The name of a kind ("expert_down"), of a class ("attention", "dense", "shared", "experts"), or a glob over
// the whole module name, where `*` stands for any text and `?` for one character.
bool MatchesPattern(absl::string_view pattern, const Linear& linear);

// Violations that show without a model. Field paths start with "spec.rules[".
std::vector<FieldViolation> CheckRules(const std::vector<WidthRule>& rules);

// The widths that each linear may have, ascending and never empty; linears that share a width under the
// profile have the same ones. `widths` are the candidates, ascending and not empty. INVALID_FIELD names a
// pattern that matches nothing, and rules that leave no width to a linear.
using AllowedWidths = std::vector<std::vector<int>>;
absl::StatusOr<AllowedWidths> ApplyRules(const std::vector<Linear>& linears,
                                         const std::vector<WidthRule>& rules, const std::vector<int>& widths,
                                         const RuntimeProfile& profile);

}  // namespace quantmoe
