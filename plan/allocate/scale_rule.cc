#include "plan/allocate/scale_rule.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"

namespace quantmoe {

absl::string_view ScaleRuleName(ScaleRule rule) {
  constexpr absl::string_view kNames[] = {"auto", "range", "positive", "signed"};
  return kNames[static_cast<int>(rule)];
}

absl::StatusOr<ScaleRule> ParseScaleRule(absl::string_view name) {
  for (const ScaleRule rule :
       {ScaleRule::kAuto, ScaleRule::kRange, ScaleRule::kPositive, ScaleRule::kSigned}) {
    if (name == ScaleRuleName(rule)) return rule;
  }
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT",
                   absl::StrCat("unknown rule for scales \"", name, "\": auto, range, positive or signed"));
}

}  // namespace quantmoe
