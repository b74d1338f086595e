// Reads messages of programs that do not keep texts valid: an older worker cuts them inside a character, and
// protobuf refuses the whole message for it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include <google/protobuf/message.h>

namespace quantmoe {

// Parses `bytes` with every text made valid (base/text.h). INVALID_ARGUMENT when they are no such message at
// all.
absl::Status ParseLeniently(const std::string& bytes, google::protobuf::Message* message);

}  // namespace quantmoe
