// Downloads an artifact: every file through a `.part` file that a later run goes on with, digests checked,
// the manifest last, so that a directory with a manifest is complete.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include <quantmoe/v1/artifacts.pb.h>

#include "client/connection.h"

namespace quantmoe {

struct DownloadOptions {
  std::string directory;
  // Replace files that are there with other bytes. Without it they are ALREADY_EXISTS, before anything is
  // written.
  bool force = false;
  // Told after each file: kept means that it was there already.
  std::function<void(const v1::ArtifactFile& file, bool kept)> on_file;
};

// DATA_LOSS DIGEST_MISMATCH when received bytes are not those that the artifact names; the damaged part is
// removed. Lost connections are tried again while they make progress.
absl::Status DownloadArtifact(const Connection& connection, const v1::Artifact& artifact,
                              const DownloadOptions& options);

}  // namespace quantmoe
