// Spelling help: the name that was probably meant.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantmoe {

// The name of the least edit distance to `word`; the first of several, empty when none is near.
std::string NearestName(absl::string_view word, const std::vector<std::string>& names);

}  // namespace quantmoe
