// Rotary embedding settings: `rope_theta` with `rope_scaling` (transformers 4), or one `rope_parameters`
// (transformers 5).
#pragma once

#include <cstdint>

#include "plan/config_reader.h"
#include "plan/model_spec.h"

namespace quantmoe {

// `head_dim`: dimensions of a head that may be rotated; `partial`: the part of them that is when the file
// does not say, 1 when the family knows no other. Problems are reported to `config`.
RopeSpec ReadRope(ConfigReader& config, int64_t head_dim, double partial, double default_theta,
                  int64_t max_position);

}  // namespace quantmoe
