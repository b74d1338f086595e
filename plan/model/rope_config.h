// Rotary embedding settings: `rope_theta` with `rope_scaling` (transformers 4), or one `rope_parameters`
// (transformers 5).
#pragma once

#include <cstdint>

#include "plan/model/config_reader.h"
#include "plan/model/model_spec.h"

namespace quantmoe {

// What a family takes where the file does not say.
struct RopeDefaults {
  double theta = 1e4;
  double partial = 0;  // the rotated part of a head; 0: all of it, and nothing else is known
  bool alpha = false;  // whether the type `dynamic` may have a fixed `alpha`
};

// `head_dim`: dimensions of a head that may be rotated. Problems are reported to `config`.
RopeSpec ReadRope(ConfigReader& config, int64_t head_dim, const RopeDefaults& defaults, int64_t max_position);

}  // namespace quantmoe
