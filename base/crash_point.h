// Named places where fault tests kill the process, so that recovery is tested at the instants that matter.
// Does nothing unless the environment has QUANTMOE_CRASH_AT=name[:nth]: then the nth passage (from 1) of that
// place ends the process with _exit(137), as a SIGKILL would: no destructors, no flushing. Thread-safe.
#pragma once

#include "absl/strings/string_view.h"

namespace quantmoe {

// What marks a place. Names are kebab-case, such as "before-complete".
void CrashPoint(absl::string_view name);

}  // namespace quantmoe
