// The SHA-256 name of what a file holds.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "storage/digest.h"

namespace quantmoe {

// NOT_FOUND when it cannot be read, or is no regular file: a device may have no end. Blocking.
absl::StatusOr<Digest> DigestOfFile(const std::string& path);

}  // namespace quantmoe
