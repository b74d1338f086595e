// Immutable bytes by digest. LocalBlobStore keeps them in files; worker/ has a store that streams through the
// coordinator. Both give the same guarantees: what is committed is whole, durable and verified when it is
// read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "storage/digest.h"
#include "storage/mapped_file.h"

namespace quantmoe {

// Receives the bytes of one new blob in order. Dropped without Commit, nothing remains of it. Must not
// outlive its store.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Makes the blob durable and visible under its digest.
  virtual absl::StatusOr<Digest> Commit() = 0;
};

// Thread-safe.
class BlobStore {
 public:
  virtual ~BlobStore() = default;
  virtual absl::StatusOr<std::unique_ptr<BlobWriter>> Create() = 0;
  // NOT_FOUND BLOB_NOT_FOUND; DATA_LOSS DIGEST_MISMATCH when the stored bytes are damaged.
  virtual absl::StatusOr<MappedFile> Open(const Digest& digest) = 0;
  // Makes the age of the blob 0 for the garbage collector, so that the caller may rely on a true answer.
  virtual absl::StatusOr<bool> Contains(const Digest& digest) = 0;

  // Create, Append, Commit.
  absl::StatusOr<Digest> Put(absl::string_view bytes);
};

// Blobs as files `sha256/ab/cd/<digest>` under one directory; several processes may share it. Written to
// `staging/` on the same file system, synced, renamed. RESOURCE_EXHAUSTED DISK_FULL when the disk is full.
class LocalBlobStore : public BlobStore {
 public:
  // Creates the directory when it is missing.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(std::string dir);

  absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override;
  absl::StatusOr<MappedFile> Open(const Digest& digest) override;
  absl::StatusOr<bool> Contains(const Digest& digest) override;

  // Where the file of a blob is, whether or not it exists. The digest must be valid (IsSha256).
  std::string PathOf(const Digest& digest) const;
  const std::string& dir() const { return dir_; }

  // Resumable uploads: bytes kept so far of a blob that is not complete. The staging file is named by the
  // digest.
  absl::StatusOr<int64_t> PartialSize(const Digest& digest) const;
  // Appends to the staging file at exactly `offset` (its current size); anything else, and
  // bytes beyond the size of the digest, is OUT_OF_RANGE.
  absl::Status AppendPartial(const Digest& digest, int64_t offset, absl::string_view bytes);
  // Verifies and publishes the staging file. INVALID_ARGUMENT DIGEST_MISMATCH deletes it; NOT_FOUND
  // BLOB_NOT_FOUND when there is none. OK when the blob is already there.
  absl::Status CommitPartial(const Digest& digest);

  // Deletes blobs older than `min_age` for which `is_live` is false, and stale staging files. Returns bytes
  // freed.
  absl::StatusOr<int64_t> CollectGarbage(const std::function<bool(const std::string& sha256)>& is_live,
                                         absl::Duration min_age, absl::Time now);

 private:
  explicit LocalBlobStore(std::string dir) : dir_(std::move(dir)) {}

  const std::string dir_;
  absl::Mutex mutex_;
  // Blobs whose bytes this process has checked already, with their sizes.
  absl::flat_hash_map<std::string, int64_t> verified_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
