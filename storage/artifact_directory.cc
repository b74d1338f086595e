#include "storage/artifact_directory.h"

#include <fcntl.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/interruption.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"
#include "storage/publication.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

absl::Status SyncPath(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  return SyncFile(fd.get());
}

// Verifies the blob and puts it at `target`.
absl::Status Place(LocalBlobStore& blobs, const Digest& blob, const fs::path& target) {
  RETURN_IF_ERROR(blobs.Open(blob).status());
  RETURN_IF_ERROR(MakeDirs(target.parent_path()));
  std::error_code error;
  fs::create_hard_link(blobs.PathOf(blob), target, error);
  if (!error) return absl::OkStatus();  // the blob's bytes are durable already
  error.clear();
  fs::copy_file(blobs.PathOf(blob), target, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot copy to ", target.string()));
  return SyncPath(target);
}

absl::Status PlaceAll(LocalBlobStore& blobs, const std::vector<ArtifactFile>& files, const Digest& manifest,
                      const fs::path& directory) {
  for (const ArtifactFile& file : files) {
    RETURN_IF_ERROR(CheckInterrupted());
    RETURN_IF_ERROR(Place(blobs, file.digest, directory / file.path));
    CrashPoint("publish-file-placed");
  }
  return Place(blobs, manifest, directory / kManifestName);
}

}  // namespace

absl::StatusOr<std::vector<ArtifactFile>> MaterialiseArtifact(LocalBlobStore& blobs, const Digest& manifest,
                                                              const std::string& directory, bool overwrite) {
  ASSIGN_OR_RETURN(const MappedFile bytes, blobs.Open(manifest));
  ASSIGN_OR_RETURN(std::vector<ArtifactFile> files, ParseArtifactManifest(bytes.bytes()));
  ASSIGN_OR_RETURN(Publication publication, Publication::Begin(directory, overwrite));
  RETURN_IF_ERROR(publication.StartAgain());
  if (absl::Status placed = PlaceAll(blobs, files, manifest, publication.staging()); !placed.ok()) {
    // Copies may fill the disk; the blobs have everything.
    (void)publication.Discard();
    return placed;
  }
  RETURN_IF_ERROR(publication.Finish());
  return files;
}

}  // namespace quantmoe
