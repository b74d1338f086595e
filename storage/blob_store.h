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
  // NOT_FOUND BLOB_NOT_FOUND; DATA_LOSS DIGEST_MISMATCH when the stored bytes are damaged. Both name the blob
  // in their metadata (`sha256`).
  virtual absl::StatusOr<MappedFile> Open(const Digest& digest) = 0;
  // Makes the age of the blob 0 for the garbage collector, so that the caller may rely on a true answer.
  virtual absl::StatusOr<bool> Contains(const Digest& digest) = 0;

  // Create, Append, Commit.
  absl::StatusOr<Digest> Put(absl::string_view bytes);
};

// What happens to a blob whose bytes turn out to be damaged.
enum class DamagedBlobs {
  kSetAside,  // moved to `quarantine/<digest>.damaged-<n>`, so that whoever looks for the cause finds it
  kDelete,    // for caches: the blob is elsewhere too
};

class LocalBlobWriter;

// Blobs as files `sha256/ab/cd/<digest>` under one directory; several processes may share it. Written to
// `staging/` on the same file system, synced, renamed. RESOURCE_EXHAUSTED DISK_FULL when the disk is full.
// A blob is verified when it is read for the first time and whenever its file has changed since; a damaged
// one leaves its place at once, so that it counts as missing and can be written again. Folders and files may
// be removed while the store is in use: blobs are missing then, and folders are made again. A writer whose
// bytes are removed before its Commit gets UNAVAILABLE STAGING_LOST.
class LocalBlobStore : public BlobStore {
 public:
  // Creates the directory when it is missing.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(std::string dir,
                                                              DamagedBlobs damaged = DamagedBlobs::kSetAside);

  absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override;
  absl::StatusOr<MappedFile> Open(const Digest& digest) override;
  absl::StatusOr<bool> Contains(const Digest& digest) override;

  // Called when the disk is full; true when it has freed something, so that the write is tried again. For
  // caches, which can forget blobs. Set before the first write.
  void OnFullDisk(std::function<bool()> make_room) { make_room_ = std::move(make_room); }

  // Reads all bytes of the blob whatever is known of it. The errors of Open.
  absl::Status Verify(const Digest& digest);
  // Put, unless an intact blob of these bytes is there: needs no room then.
  absl::StatusOr<Digest> Ensure(absl::string_view bytes);
  // Damaged blobs that were set aside and are still kept, by any process.
  int64_t quarantined() const;

  // Where the file of a blob is, whether or not it exists. The digest must be valid (IsSha256).
  std::string PathOf(const Digest& digest) const;
  const std::string& dir() const { return dir_; }

  // Resumable uploads: bytes kept so far of a blob that is not complete. Each uploader gives an id of its own
  // (IsUploadId), so that what another one left behind cannot get into its blob; without an id all uploads of
  // a digest share one staging file.
  absl::StatusOr<int64_t> PartialSize(const Digest& digest, absl::string_view upload = "") const;
  // Appends to the staging file at exactly `offset` (its current size); anything else, and
  // bytes beyond the size of the digest, is OUT_OF_RANGE.
  absl::Status AppendPartial(const Digest& digest, int64_t offset, absl::string_view bytes,
                             absl::string_view upload = "");
  // Verifies and publishes the staging file. INVALID_ARGUMENT DIGEST_MISMATCH deletes it; NOT_FOUND
  // BLOB_NOT_FOUND when there is none. OK when the blob is already there.
  absl::Status CommitPartial(const Digest& digest, absl::string_view upload = "");
  // Forgets what was kept of an upload, so that it starts again.
  absl::Status DropPartial(const Digest& digest, absl::string_view upload = "");

  // Deletes blobs older than `min_age` for which `is_live` is false, stale staging files, and what was set
  // aside seven times as long ago. Returns bytes freed.
  absl::StatusOr<int64_t> CollectGarbage(const std::function<bool(const std::string& sha256)>& is_live,
                                         absl::Duration min_age, absl::Time now);

 private:
  // What changes when a file is written to or replaced.
  struct FileStamp {
    uint64_t inode = 0;
    int64_t size_bytes = 0;
    absl::Time modified;
    friend bool operator==(const FileStamp&, const FileStamp&) = default;
  };
  LocalBlobStore(std::string dir, DamagedBlobs damaged) : dir_(std::move(dir)), damaged_(damaged) {}

  friend class LocalBlobWriter;
  // Writes at `offset`, the end of the file.
  absl::Status WriteMakingRoom(int fd, int64_t offset, absl::string_view bytes) const;
  static absl::StatusOr<FileStamp> StampOf(const std::string& path);
  absl::StatusOr<MappedFile> OpenVerified(const Digest& digest, bool trust_earlier_reads);
  // Takes the file away unless somebody has replaced the one of this stamp.
  void Remove(const Digest& digest, const FileStamp& stamp);

  const std::string dir_;
  const DamagedBlobs damaged_;
  std::function<bool()> make_room_;
  absl::Mutex mutex_;
  // Files whose bytes this process has checked already, by digest.
  absl::flat_hash_map<std::string, FileStamp> verified_ ABSL_GUARDED_BY(mutex_);
};

// Whether a text may name an upload: 1 to 64 letters, digits or hyphens.
bool IsUploadId(absl::string_view text);

}  // namespace quantmoe
