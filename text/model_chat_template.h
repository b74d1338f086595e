// The chat template of a model directory.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

#include "sources/model_directory.h"

namespace quantmoe {

// Renders conversations (messages and tools, or null) with the template of `directory`, which is read at the
// first call and has to outlive the function. INVALID_ARGUMENT CHAT_TEMPLATE_MISSING when it has none.
std::function<absl::StatusOr<std::string>(const nlohmann::ordered_json& messages,
                                          const nlohmann::ordered_json& tools)>
ModelChatRenderer(ModelDirectory& directory);

}  // namespace quantmoe
