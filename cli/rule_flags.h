// The flags of width rules: each is one rule a flag, where the job file has a list.
#pragma once

#include <vector>

#include "base/error_info.h"
#include "cli/typed_flags.h"
#include "plan/options/option.h"
#include "plan/options/width_rule.h"

namespace quantmoe::cli {

const std::vector<OptionInfo>& RuleFlags();

// Pins, floors, ceilings and what is protected, each in the order in which it was typed.
std::vector<WidthRule> ReadRules(const TypedFlags& flags, std::vector<FieldViolation>& violations);

}  // namespace quantmoe::cli
