// Model URIs, parsed once into a struct and confined to configured roots; never re-serialised from user text.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct ModelUri {
  enum class Scheme { kFile, kS3, kGcs, kHub };
  Scheme scheme = Scheme::kFile;
  std::string path;           // kFile: absolute path; kHub: "owner/name"; else "bucket/prefix"
  std::string revision = "";  // kHub: branch, tag or commit

  std::string ToString() const;  // canonical text
};

// INVALID_ARGUMENT INVALID_FIELD (field `spec.model.uri`) for anything but an absolute path, file:///path,
// s3://bucket/prefix, gs://bucket/prefix or hf://owner/name[@revision]; without one, the revision is main.
// `..`, `%`, `?`, `#`, user info, backslash and control characters are refused.
absl::StatusOr<ModelUri> ParseModelUri(absl::string_view text);

// hf://datasets/owner/name@revision: as a model URI whose path is "datasets/owner/name". Whose files those
// are is for sources/data_file.h. INVALID_ARGUMENT INVALID_FIELD.
absl::StatusOr<ModelUri> ParseDatasetUri(absl::string_view text);

// A place below which models may lie: as above, a directory also by a link; hf://, hf://owner and
// hf://owner/name (`path` is then empty, "owner" or "owner/name"), without a revision; or hf://datasets,
// hf://datasets/owner and hf://datasets/owner/name.
absl::StatusOr<ModelUri> ParseModelRoot(absl::string_view text);

// Checks that a kFile path lies below one of `roots` after all symbolic links are resolved, and a
// other path below one of the same scheme. PERMISSION_DENIED SOURCE_NOT_ALLOWED, also for a model with a file
// that links to somewhere else, which is named; NOT_FOUND MODEL_NOT_FOUND.
absl::StatusOr<ModelUri> ConfineModelUri(const ModelUri& uri, const std::vector<std::string>& roots);

}  // namespace quantmoe
