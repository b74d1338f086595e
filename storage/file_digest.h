// The SHA-256 name of what a file holds.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "storage/digest.h"

namespace quantmoe {

// NOT_FOUND when it cannot be read. Blocking.
absl::StatusOr<Digest> DigestOfFile(const std::string& path);

}  // namespace quantmoe
