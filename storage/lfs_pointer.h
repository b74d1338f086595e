// Git LFS: a clone without it leaves a text of three lines in place of each large file. Whoever reads a file
// of a model says so, instead of what is wrong with such a text as weights or JSON.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Whether a whole file is a pointer (git-lfs, docs/spec.md: below 1024 bytes, and its first line is the
// version).
bool IsLfsPointer(absl::string_view file);
// Whether a file whose first bytes are no other format's could be one; for those who read no more.
bool MayBeLfsPointer(absl::string_view first8, int64_t file_size);

// INVALID_ARGUMENT MODEL_INVALID that names the file and says what to do.
absl::Status LfsPointerError(const std::string& file);

}  // namespace quantmoe
