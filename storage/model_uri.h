// Model URIs, parsed once into a struct and confined to configured roots; never re-serialised from user text.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct ModelUri {
  enum class Scheme { kFile, kS3, kGcs };
  Scheme scheme = Scheme::kFile;
  std::string path;  // kFile: absolute path; else "bucket/prefix"

  std::string ToString() const;  // canonical text
};

// INVALID_ARGUMENT INVALID_FIELD (field `spec.model.uri`) for anything but an absolute path, file:///path,
// s3://bucket/prefix or gs://bucket/prefix; `..`, `%`, `?`, `#`, user info, backslash and control characters
// are refused.
absl::StatusOr<ModelUri> ParseModelUri(absl::string_view text);

// Checks that a kFile path lies below one of `roots` after all symbolic links are resolved, and a
// bucket/prefix below one of them as `s3://...` text. PERMISSION_DENIED SOURCE_NOT_ALLOWED; NOT_FOUND
// MODEL_NOT_FOUND.
absl::StatusOr<ModelUri> ConfineModelUri(const ModelUri& uri, const std::vector<std::string>& roots);

}  // namespace quantmoe
