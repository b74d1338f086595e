// How the scale of a group of weights is chosen.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace quantmoe {

enum class ScaleRule {
  kAuto,      // kSigned at 2 and 3 bits, kPositive above
  kRange,     // the largest magnitude half a step beyond the largest code, as GPTQ's symmetric grid has it
  kPositive,  // the positive scale of least weighted squared error
  // The scale of either sign of least error. The grid reaches one step further down than up; a negative scale
  // turns that step to the side that needs it. In a file it becomes another zero point
  // (quant/gptq/packing.h).
  kSigned,
};

// Whether a linear of `bits` may have negative scales.
constexpr bool AllowsNegative(ScaleRule rule, int bits) {
  return rule == ScaleRule::kSigned || (rule == ScaleRule::kAuto && bits <= 3);
}

constexpr std::array<absl::string_view, 4> ChoiceNames(ScaleRule) {
  return {"auto", "range", "positive", "signed"};
}

}  // namespace quantmoe
