// Documents of JSON as text for people.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

// Any JSON document as indented "key: value" lines, lists of flat objects as tables. What is no JSON stays as
// it is.
std::string RenderJson(absl::string_view json);

}  // namespace quantmoe
