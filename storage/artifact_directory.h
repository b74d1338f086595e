// The published form of a job's result: a directory of files that a manifest names by digest.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "storage/blob_store.h"

namespace quantmoe {

struct ArtifactFile {
  std::string path;  // relative, forward slashes
  Digest digest;
};

// Links (or copies) every file that the manifest blob lists into `directory`, artifact.json last, through a
// temporary directory and one rename: the directory is whole or absent. What was there is replaced; repeating
// gives the same. INTERNAL MANIFEST_INVALID; DATA_LOSS, RESOURCE_EXHAUSTED DISK_FULL from the file system.
absl::StatusOr<std::vector<ArtifactFile>> MaterialiseArtifact(LocalBlobStore& blobs, const Digest& manifest,
                                                              const std::string& directory);

}  // namespace quantmoe
