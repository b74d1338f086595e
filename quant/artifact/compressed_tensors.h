// The configuration of compressed-tensors, `pack-quantized`, which groups modules by width. Format:
// docs/formats.md; the tensors: storage/weight_format.h.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/runtime_profile.h"

namespace quantmoe {

// The `quantization_config` of config.json. Each module is a target of exactly one group, and every linear
// among `kept` is in `ignore`. Targets are exact names, and for experts regular expressions that match both
// their published names (w1, w3, w2) and the ones that runtimes give them (gate_proj, up_proj, down_proj).
// One width, and the experts' width for a profile that gives all experts one, is given for the class Linear
// instead.
nlohmann::ordered_json CompressedTensorsConfig(const BitPlan& plan, const RuntimeProfile& profile,
                                               const ModelSpec& spec, const std::vector<TensorInfo>& kept);

}  // namespace quantmoe
