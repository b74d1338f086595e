// The texts that jobs use when they bring none (origin and licences: NOTICE). Compiled into the program.
#pragma once

#include "absl/strings/string_view.h"

namespace quantmoe {

absl::string_view ShippedCalibrationProse();  // 1.66 MB of English prose
absl::string_view ShippedHeldoutProse();      // 376 KB, shares no paragraph with the above

}  // namespace quantmoe
