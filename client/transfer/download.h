// Downloads an artifact into a staging folder (storage/publication.h): every file through a `.part` file that
// a later run goes on with, digests checked, the manifest last. The directory appears when it is whole.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include <quantmoe/v1/artifacts.pb.h>

#include "client/transfer/connection.h"

namespace quantmoe {

struct DownloadOptions {
  std::string directory;
  // Replace an earlier artifact. Without it, and always for anything else that is there, INVALID_FIELD
  // (--out) before anything is written.
  bool overwrite = false;
  // Told after each file: kept means that it was there already.
  std::function<void(const v1::ArtifactFile& file, bool kept)> on_file;
  // Told where the files are that a later run goes on with, when this one fails.
  std::function<void(const std::string& staging)> on_interrupted = nullptr;
};

// DATA_LOSS DIGEST_MISMATCH when received bytes are not those that the artifact names; the damaged part is
// removed. Lost connections are tried again while they make progress.
absl::Status DownloadArtifact(const Connection& connection, const v1::Artifact& artifact,
                              const DownloadOptions& options);

}  // namespace quantmoe
