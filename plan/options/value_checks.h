// What the entries of the options say about their values: ranges, choices, digests.
#pragma once

#include <string>
#include <vector>

#include "base/error_info.h"
#include "plan/options/job_spec.h"

namespace quantmoe {

// All violations that one value shows by itself. Field paths start with "spec.".
std::vector<FieldViolation> CheckValues(const JobSpec& spec);

// What is allowed, for help and documents: "1 to 64", "above 0", "f32, bf16"; empty: anything of its type.
std::string RangeText(const Range& range, bool whole);

}  // namespace quantmoe
