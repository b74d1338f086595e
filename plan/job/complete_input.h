// Options that are input alone, replaced by what they stand for before a spec is checked or kept.
#pragma once

#include <vector>

#include "base/error_info.h"
#include "plan/options/job_spec.h"

namespace quantmoe {

// Applies the preset, and names the shipped prose where the spec names no text. Violations as of ApplyPreset.
std::vector<FieldViolation> CompleteInput(JobSpec& spec);

}  // namespace quantmoe
