#include "server/publisher.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "server/task_inputs.h"
#include "storage/artifact_directory.h"

namespace quantmoe {

absl::StatusOr<server::ArtifactRecord> PublishArtifact(LocalBlobStore& blobs,
                                                       const std::vector<v1::TaskBlob>& outputs,
                                                       const std::string& artifacts_dir,
                                                       const std::string& job) {
  server::ArtifactRecord artifact;
  for (const v1::TaskBlob& output : outputs) {
    if (output.role() == "manifest") *artifact.mutable_manifest() = output.digest();
  }
  if (!artifact.has_manifest()) {
    return MakeError(absl::StatusCode::kInternal, "MANIFEST_INVALID", "publish gave no manifest");
  }
  ASSIGN_OR_RETURN(
      const std::vector<ArtifactFile> files,
      MaterialiseArtifact(blobs, FromProto(artifact.manifest()), absl::StrCat(artifacts_dir, "/", job)));
  for (const ArtifactFile& file : files) {
    auto& added = *artifact.add_files();
    added.set_path(file.path);
    *added.mutable_digest() = ToProto(file.digest);
  }
  return artifact;
}

}  // namespace quantmoe
