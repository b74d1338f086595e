// The manifest of an artifact (docs/formats.md, section 1): by it we know a folder that a program of ours
// made, and which of its files are ours.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/digest.h"

namespace quantmoe {

inline constexpr char kManifestName[] = "artifact.json";

struct ArtifactFile {
  std::string path;  // relative, forward slashes
  Digest digest;
};

// The files that a manifest lists; itself is not among them. INTERNAL MANIFEST_INVALID for what is none, and
// for paths that would leave the folder.
absl::StatusOr<std::vector<ArtifactFile>> ParseArtifactManifest(absl::string_view bytes);

// The same of the manifest in `directory`. Also NOT_FOUND when there is none.
absl::StatusOr<std::vector<ArtifactFile>> ReadArtifactManifest(const std::string& directory);

// What lies in `directory` beside the manifest, its files and working folders of ours: the first path, or
// nothing. A link is foreign also where the manifest lists a file or needs a folder of its name: no program
// of ours makes one, and what it leads to is somebody else's.
std::string FirstForeignEntry(const std::string& directory, const std::vector<ArtifactFile>& files);

// Removes the files that the manifest in `directory` lists, the manifest last, and the folders that are empty
// then, without following any link. What is not listed stays, and FAILED_PRECONDITION names it. A folder that
// is not there is fine; one without a manifest is left alone with the error of ReadArtifactManifest.
absl::Status RemoveArtifact(const std::string& directory);

}  // namespace quantmoe
