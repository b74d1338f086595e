// The README.md of an artifact: front matter for model hubs, scores before and after, and the plan in short.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "plan/bit_plan.h"

namespace quantmoe {

// `scores` is {"original": ..., "planned": ...} of quant/evaluate, or null when nothing was measured.
std::string ModelCard(const BitPlan& plan, const ModelSpec& spec, const nlohmann::json& scores,
                      int64_t original_bytes, const std::string& version);

}  // namespace quantmoe
