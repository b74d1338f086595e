// Turns the outputs of `publish` into the artifact's directory. Blocking file work: in a room only.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_kind.h"
#include "server/facts/state.pb.h"
#include "storage/blob_store.h"

namespace quantmoe {

// Whether the artifact of a job may be published as `artifacts_dir`/`job`: there is nothing of that name, or
// what an earlier publication has left. FAILED_PRECONDITION OUTPUT_EXISTS or NOT_A_WORK_DIRECTORY names what
// is in the way.
absl::Status CheckPlace(const std::string& artifacts_dir, const std::string& job);
// Whether an error of CheckPlace or PublishArtifact says so.
bool IsPlaceTaken(const absl::Status& error);

// Makes the directory `artifacts_dir`/`job` whole or not at all; repeating gives the same directory.
// INTERNAL MANIFEST_INVALID when the outputs do not make an artifact; the errors of CheckPlace; DATA_LOSS,
// RESOURCE_EXHAUSTED from the file system.
absl::StatusOr<server::ArtifactRecord> PublishArtifact(LocalBlobStore& blobs,
                                                       const std::vector<BlobRef>& outputs,
                                                       const std::string& artifacts_dir,
                                                       const std::string& job);

// Removes what PublishArtifact made or began in `directory`, and nothing else. What cannot be removed is
// logged.
void Unpublish(const std::string& directory);

}  // namespace quantmoe
