// Checks a downloaded artifact against its manifest `artifact.json`, without a server.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/artifact_manifest.h"

namespace quantmoe {

// SHA-256 by relative path. The manifest's `files` is a list of {path, sha256} or an object from path to
// digest, where a digest is a text or {sha256}. DATA_LOSS when it is neither.
absl::StatusOr<std::map<std::string, std::string>> ParseManifest(absl::string_view json);

struct FileCheck {
  enum class Result { kOk, kDamaged, kMissing };
  std::string path;
  Result result = Result::kOk;
};

// One check for each file of the manifest, in path order. NOT_FOUND without a manifest.
absl::StatusOr<std::vector<FileCheck>> CheckArtifact(const std::string& directory);

// True for a relative path of normal components: it cannot leave the directory that it is joined to.
bool IsSafeRelativePath(const std::string& path);

}  // namespace quantmoe
