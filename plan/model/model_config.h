// From config.json to a ModelSpec: what all families share. The table of families is in family.h.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/model/model_config.h"
#include "plan/model/model_spec.h"

namespace quantmoe {

// Reads config.json. INVALID_ARGUMENT MODEL_UNSUPPORTED names an unknown model_type, rope type, activation or
// any option that would change the arithmetic and is not implemented; INVALID_ARGUMENT MODEL_INVALID names a
// missing or bad field.
absl::StatusOr<ModelSpec> ParseModelConfig(absl::string_view config_json);

}  // namespace quantmoe
