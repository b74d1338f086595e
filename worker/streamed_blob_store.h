// A BlobStore over the coordinator's BlobService, for a worker on another machine: what is read comes through
// a bounded local cache, what is committed is stored there first and then uploaded. Transfers go on where
// they broke off.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/retry.h"
#include "quantmoe/v1/blobs.grpc.pb.h"
#include "storage/blob_store.h"
#include "worker/metrics.h"

namespace quantmoe {

// Thread-safe. No lock is held during a transfer; a second request for a blob that is on its way waits for
// it.
class StreamedBlobStore : public BlobStore {
 public:
  struct Options {
    std::string cache_dir;
    // Blobs that were not used for longest go first when the cache holds more.
    int64_t cache_bytes = int64_t{16} << 30;
    // How long one transfer is tried again without any byte getting through, before UNAVAILABLE is returned.
    absl::Duration give_up_after = absl::Minutes(2);
    BackoffOptions backoff;
    // Under which the coordinator keeps parts of uploads; empty: a random one.
    std::string upload_id = {};
    // Polled between tries and chunks; true ends a transfer with CANCELLED.
    std::function<bool()> cancelled = [] { return false; };
  };

  // `service` and `metrics` must outlive the store.
  static absl::StatusOr<std::unique_ptr<StreamedBlobStore>> Open(Options options,
                                                                 v1::BlobService::StubInterface& service,
                                                                 WorkerMetrics& metrics);

  absl::StatusOr<std::unique_ptr<BlobWriter>> Create() override;
  absl::StatusOr<MappedFile> Open(const Digest& digest) override;
  // Whether the coordinator has the blob, not the cache.
  absl::StatusOr<bool> Contains(const Digest& digest) override;

  int64_t cached_bytes() const;

 private:
  class Writer;

  StreamedBlobStore(Options options, std::unique_ptr<LocalBlobStore> cache,
                    v1::BlobService::StubInterface& service, WorkerMetrics& metrics)
      : options_(std::move(options)), cache_(std::move(cache)), service_(service), metrics_(metrics) {}

  absl::Status IndexCache();
  // Forgets what was not used for longest, to make room on a full disk; false when the cache is empty.
  bool EvictOldest();
  absl::StatusOr<MappedFile> OpenExclusively(const Digest& digest);
  absl::Status Upload(const Digest& digest);
  absl::Status UploadOnce(const Digest& digest, absl::string_view bytes, int64_t& moved);
  absl::Status DownloadOnce(const Digest& digest, int64_t& moved);
  // Calls `once` until it succeeds, fails for good, or nothing moves for too long.
  absl::Status Persist(const Digest& digest, const std::function<absl::Status(int64_t& moved)>& once);
  bool PauseUnlessCancelled(absl::Duration pause);

  void Touch(const Digest& digest);
  std::vector<Digest> OverflowLocked(const Digest& newest) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::unique_ptr<LocalBlobStore> cache_;
  v1::BlobService::StubInterface& service_;
  WorkerMetrics& metrics_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_set<std::string> in_transfer_ ABSL_GUARDED_BY(mutex_);
  // Most recently used first.
  std::list<Digest> recent_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, std::list<Digest>::iterator> position_ ABSL_GUARDED_BY(mutex_);
  int64_t cached_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantmoe
