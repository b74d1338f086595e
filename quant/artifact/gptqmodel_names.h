// What GPTQModel calls the modules of a model.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

// `name`, the published name of a module or tensor, as GPTQModel (7.7) looks for it in a model of this type.
// It loads by the names of the modules in memory, which for some families are not those of the published
// files.
std::string GptqModelName(absl::string_view model_type, absl::string_view name);

}  // namespace quantmoe
