// What the user says about the width of some linears: the message WidthRule of proto/quantmoe/v1/types.proto.
#pragma once

#include <string>

#include "plan/options/option.h"

namespace quantmoe {

// The pattern of what calibration finds (plan/allocate/super_experts.h): no name matches it, and only
// `protect` goes with it.
inline constexpr char kSuperExpertsPattern[] = "super-experts";

struct WidthRule {
  std::string pattern;   // see MatchesPattern
  int min_bits = 0;      // 0: no floor; equal to max_bits: a pin
  int max_bits = 0;      // 0: no ceiling
  bool protect = false;  // the largest candidate width; then the two above are 0

  friend bool operator==(const WidthRule&, const WidthRule&) = default;
};

template <SpecOf<WidthRule> Spec, typename Visit>
void VisitOptions(Spec& rule, Visit& visit) {
  visit(OptionInfo{.name = "pattern",
                   .help = "A kind, a class or a glob over module names",
                   .value = "PATTERN",
                   .kept = Kept::kAlways},
        rule.pattern);
  visit(OptionInfo{.name = "min_bits", .help = "Least width", .unset = "no floor", .kept = Kept::kAlways},
        rule.min_bits);
  visit(OptionInfo{.name = "max_bits", .help = "Largest width", .unset = "no ceiling", .kept = Kept::kAlways},
        rule.max_bits);
  visit(OptionInfo{.name = "protect", .help = "The largest candidate width", .kept = Kept::kAlways},
        rule.protect);
}

}  // namespace quantmoe
