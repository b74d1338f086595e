// The published form of a job's result: a directory of files that a manifest names by digest.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "storage/artifact_manifest.h"
#include "storage/blob_store.h"

namespace quantmoe {

// Links (or copies) every file that the manifest blob lists into `directory` (a normal path), artifact.json
// last, through a Publication: the directory is whole or absent. With `overwrite` an earlier artifact is
// replaced, so that repeating gives the same; nothing else ever is. INTERNAL MANIFEST_INVALID;
// FAILED_PRECONDITION OUTPUT_EXISTS; DATA_LOSS, RESOURCE_EXHAUSTED DISK_FULL from the file system.
absl::StatusOr<std::vector<ArtifactFile>> MaterialiseArtifact(LocalBlobStore& blobs, const Digest& manifest,
                                                              const std::string& directory, bool overwrite);

}  // namespace quantmoe
