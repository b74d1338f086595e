// Rotary embedding settings: `rope_theta` with `rope_scaling` (transformers 4), or one `rope_parameters`
// (transformers 5).
#pragma once

#include <cstdint>

#include "plan/config_reader.h"
#include "plan/model_spec.h"

namespace quantmoe {

// `dims`: rotary dimensions of a head. Problems are reported to `config`.
RopeSpec ReadRope(ConfigReader& config, int64_t dims, double default_theta, int64_t max_position);

}  // namespace quantmoe
