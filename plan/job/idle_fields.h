// Fields that somebody set and that nothing reads, because of what another field says.
#pragma once

#include <string>
#include <vector>

#include "plan/options/job_spec.h"

namespace quantmoe {

// A warning for each, with the field and what makes it idle. `spec` has its texts filled in
// (CompleteInput), and no other default.
std::vector<std::string> WarnOfIdleFields(const JobSpec& spec);

}  // namespace quantmoe
