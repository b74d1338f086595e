// Enforces the limits that quantmoe/v1/limits.proto lets fields of requests state. Texts are valid UTF-8
// already: protobuf refuses to read others.
#pragma once

#include "absl/status/status.h"
#include <google/protobuf/message.h>

namespace quantmoe {

// INVALID_ARGUMENT INVALID_FIELD that names what is beyond its limit, in all messages within `request`.
absl::Status CheckFieldLimits(const google::protobuf::Message& request);

}  // namespace quantmoe
