// How the worker reaches blobs: the coordinator's own directory when both see the same one, otherwise a
// stream.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "quantmoe/v1/worker.pb.h"
#include "storage/blob_store.h"
#include "worker/streamed_blob_store.h"

namespace quantmoe {

enum class BlobMode { kAuto, kShared, kStreamed };
// INVALID_ARGUMENT for anything but "auto", "shared" and "streamed".
absl::StatusOr<BlobMode> ParseBlobMode(absl::string_view name);

// OK when the probe file of the coordinator's blob directory has the text that the coordinator wrote (the
// same path on another machine has another text or none), and blobs can be written there. FAILED_PRECONDITION
// BLOB_DIR_NOT_SHARED.
absl::Status CheckSharedDirectory(const v1::Welcome& welcome);

struct BlobAccess {
  std::shared_ptr<BlobStore> store;
  std::string shared_dir;  // empty when streamed
};

// Gives `current` back when it still fits, so that a new session does not start with a second cache over the
// same files. FAILED_PRECONDITION BLOB_DIR_NOT_SHARED as of CheckSharedDirectory for kShared.
absl::StatusOr<BlobAccess> OpenBlobs(BlobMode mode, const v1::Welcome& welcome, const BlobAccess& current,
                                     const StreamedBlobStore::Options& streamed,
                                     v1::BlobService::StubInterface& service, WorkerMetrics& metrics);

}  // namespace quantmoe
