// Reads messages of programs that do not keep texts valid: an older worker cuts them inside a character, and
// protobuf refuses the whole message for it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include <google/protobuf/message.h>

namespace quantmoe {

// Parses `bytes`; with every text made valid (base/text.h) where one was not, which gives true.
// INVALID_ARGUMENT when they are no such message at all.
absl::StatusOr<bool> ParseLeniently(const std::string& bytes, google::protobuf::Message* message);

}  // namespace quantmoe
