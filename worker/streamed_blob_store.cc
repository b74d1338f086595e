#include "worker/streamed_blob_store.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <grpcpp/client_context.h>

#include "base/clock.h"
#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"

namespace quantmoe {
namespace {

constexpr int64_t kChunkBytes = 2 << 20;
constexpr std::chrono::seconds kCallDeadline(10);
constexpr absl::Duration kCancelPoll = absl::Milliseconds(50);

v1::Digest ToProto(const Digest& digest) {
  v1::Digest proto;
  proto.set_sha256(digest.sha256);
  proto.set_size_bytes(digest.size_bytes);
  return proto;
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
}

// Bytes that are damaged on every way point to the memory or the disk of one side.
constexpr int kMaxDamagedTransfers = 4;

// Damaged on the way: what the coordinator stores is intact as far as it knows, and so is what this side has.
bool IsDamage(const absl::Status& status) {
  return absl::IsInvalidArgument(status) && GetErrorInfo(status).reason == "DIGEST_MISMATCH";
}

// A full disk of the coordinator: somebody may make room, and the result is worth waiting for.
bool IsCoordinatorFull(const absl::Status& status) {
  const ErrorInfo info = GetErrorInfo(status);
  const auto place = info.metadata.find("place");
  return info.reason == "DISK_FULL" && place != info.metadata.end() && place->second == "coordinator";
}

// A stream that the other side cut off is worth another try.
bool WorthAnotherTry(const absl::Status& status) {
  return IsRetryable(status) || absl::IsCancelled(status) || absl::IsOutOfRange(status) || IsDamage(status) ||
         IsCoordinatorFull(status);
}

absl::Status DamagedTooOften(const Digest& digest) {
  return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                   absl::StrCat("blob ", digest.sha256, " arrived damaged ", kMaxDamagedTransfers, " times"),
                   {{"sha256", digest.sha256}});
}

std::string RandomUploadId() {
  std::random_device random;
  return absl::StrCat(absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8),
                      absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8));
}

}  // namespace

// Writes to the cache; Commit uploads what is there.
class StreamedBlobStore::Writer : public BlobWriter {
 public:
  Writer(StreamedBlobStore& store, std::unique_ptr<BlobWriter> local)
      : store_(store), local_(std::move(local)) {}

  absl::Status Append(absl::string_view bytes) override { return local_->Append(bytes); }
  absl::StatusOr<Digest> Commit() override {
    ASSIGN_OR_RETURN(const Digest digest, local_->Commit());
    RETURN_IF_ERROR(store_.Upload(digest));
    store_.Touch(digest);
    return digest;
  }

 private:
  StreamedBlobStore& store_;
  const std::unique_ptr<BlobWriter> local_;
};

absl::StatusOr<std::unique_ptr<StreamedBlobStore>> StreamedBlobStore::Open(
    Options options, v1::BlobService::StubInterface& service, WorkerMetrics& metrics) {
  ASSIGN_OR_RETURN(auto cache, LocalBlobStore::Open(options.cache_dir, DamagedBlobs::kDelete));
  if (options.upload_id.empty()) options.upload_id = RandomUploadId();
  std::unique_ptr<StreamedBlobStore> store(
      new StreamedBlobStore(std::move(options), std::move(cache), service, metrics));
  store->cache_->OnFullDisk([raw = store.get()] { return raw->EvictOldest(); });
  RETURN_IF_ERROR(store->IndexCache());
  return store;
}

absl::Status StreamedBlobStore::IndexCache() {
  std::error_code error;
  std::vector<std::pair<std::filesystem::file_time_type, Digest>> found;
  const std::filesystem::path blobs = std::filesystem::path(cache_->dir()) / "sha256";
  for (std::filesystem::recursive_directory_iterator entry(blobs, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!IsSha256(name) || !entry->is_regular_file(error)) continue;
    found.emplace_back(entry->last_write_time(error),
                       Digest{name, static_cast<int64_t>(entry->file_size(error))});
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return absl::UnavailableError(absl::StrCat("cannot list the blob cache: ", error.message()));
  }
  std::sort(found.begin(), found.end());
  for (const auto& [time, digest] : found) Touch(digest);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<BlobWriter>> StreamedBlobStore::Create() {
  ASSIGN_OR_RETURN(auto local, cache_->Create());
  return std::make_unique<Writer>(*this, std::move(local));
}

absl::StatusOr<MappedFile> StreamedBlobStore::Open(const Digest& digest) {
  {
    absl::MutexLock lock(&mutex_);
    const auto free = [this, &digest]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !in_transfer_.contains(digest.sha256);
    };
    mutex_.Await(absl::Condition(&free));
    in_transfer_.insert(digest.sha256);
  }
  absl::Cleanup done = [this, &digest] {
    absl::MutexLock lock(&mutex_);
    in_transfer_.erase(digest.sha256);
  };
  return OpenExclusively(digest);
}

absl::StatusOr<MappedFile> StreamedBlobStore::OpenExclusively(const Digest& digest) {
  absl::StatusOr<MappedFile> cached = cache_->Open(digest);
  if (cached.ok()) {
    metrics_.CountBlobCache("hit");
    metrics_.CountBlobBytes("read", "cache", digest.size_bytes);
    Touch(digest);
    return cached;
  }
  metrics_.CountBlobCache("miss");
  // A damaged cache file would be taken for the blob that is already there.
  std::error_code ignored;
  std::filesystem::remove(cache_->PathOf(digest), ignored);
  RETURN_IF_ERROR(Persist(digest, [&](int64_t& moved) { return DownloadOnce(digest, moved); }));
  // Mapped before the cache may shrink: an evicted file lives on in its map.
  ASSIGN_OR_RETURN(MappedFile file, cache_->Open(digest));
  Touch(digest);
  return file;
}

absl::StatusOr<bool> StreamedBlobStore::Contains(const Digest& digest) {
  v1::FindMissingBlobsRequest request;
  *request.add_digests() = ToProto(digest);
  v1::FindMissingBlobsResponse response;
  RETURN_IF_ERROR(Persist(digest, [&](int64_t&) {
    grpc::ClientContext context;
    SetDeadline(context);
    return FromGrpcStatus(service_.FindMissingBlobs(&context, request, &response));
  }));
  return response.missing().empty();
}

absl::Status StreamedBlobStore::DownloadOnce(const Digest& digest, int64_t& moved) {
  ASSIGN_OR_RETURN(int64_t offset, cache_->PartialSize(digest));
  if (offset == 0) RETURN_IF_ERROR(cache_->AppendPartial(digest, 0, ""));
  grpc::ClientContext context;
  v1::DownloadBlobRequest request;
  *request.mutable_digest() = ToProto(digest);
  request.set_offset(offset);
  auto stream = service_.DownloadBlob(&context, request);
  absl::Status local;
  for (v1::Chunk chunk; local.ok() && stream->Read(&chunk);) {
    local = options_.cancelled() ? absl::CancelledError("the task was cancelled")
                                 : cache_->AppendPartial(digest, chunk.offset(), chunk.data());
    if (!local.ok()) break;
    moved += static_cast<int64_t>(chunk.data().size());
    metrics_.CountBlobBytes("read", "coordinator", static_cast<int64_t>(chunk.data().size()));
  }
  if (!local.ok()) context.TryCancel();
  const absl::Status remote = FromGrpcStatus(stream->Finish());
  if (!local.ok()) return local;
  RETURN_IF_ERROR(remote);
  return cache_->CommitPartial(digest);
}

absl::Status StreamedBlobStore::Upload(const Digest& digest) {
  ASSIGN_OR_RETURN(const bool present, Contains(digest));
  if (present) return absl::OkStatus();
  ASSIGN_OR_RETURN(const MappedFile file, cache_->Open(digest));
  return Annotate(Persist(digest, [&](int64_t& moved) { return UploadOnce(digest, file.bytes(), moved); }),
                  "upload");
}

absl::Status StreamedBlobStore::UploadOnce(const Digest& digest, absl::string_view bytes, int64_t& moved) {
  v1::GetUploadStatusResponse status;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetUploadStatusRequest request;
    *request.mutable_digest() = ToProto(digest);
    request.set_upload_id(options_.upload_id);
    RETURN_IF_ERROR(FromGrpcStatus(service_.GetUploadStatus(&context, request, &status)));
  }
  if (status.complete()) return absl::OkStatus();
  grpc::ClientContext context;
  v1::UploadBlobResponse response;
  auto stream = service_.UploadBlob(&context, &response);
  v1::UploadBlobRequest request;
  *request.mutable_digest() = ToProto(digest);
  request.set_upload_id(options_.upload_id);
  int64_t offset = std::min(status.committed_bytes(), static_cast<int64_t>(bytes.size()));
  // At least one message: it names the blob even when every byte is there already.
  do {
    if (options_.cancelled()) {
      context.TryCancel();
      break;
    }
    const absl::string_view piece = bytes.substr(offset, kChunkBytes);
    request.mutable_chunk()->set_offset(offset);
    request.mutable_chunk()->set_data(piece.data(), piece.size());
    if (!stream->Write(request)) break;
    offset += static_cast<int64_t>(piece.size());
    moved += static_cast<int64_t>(piece.size());
    metrics_.CountBlobBytes("write", "coordinator", static_cast<int64_t>(piece.size()));
    request.clear_digest();
    request.clear_upload_id();
  } while (offset < static_cast<int64_t>(bytes.size()));
  stream->WritesDone();
  return FromGrpcStatus(stream->Finish());
}

absl::Status StreamedBlobStore::Persist(const Digest& digest,
                                        const std::function<absl::Status(int64_t& moved)>& once) {
  Backoff backoff(options_.backoff);
  const auto now = [] { return Clock::Real().Monotonic(); };
  absl::Duration give_up = now() + options_.give_up_after;
  int damaged = 0;
  while (true) {
    int64_t moved = 0;
    const absl::Status status = once(moved);
    if (status.ok()) return status;
    if (options_.cancelled()) return absl::CancelledError("the task was cancelled");
    if (!WorthAnotherTry(status)) return status;
    if (IsDamage(status) && ++damaged == kMaxDamagedTransfers) return DamagedTooOften(digest);
    if (moved > 0 && !IsCoordinatorFull(status)) {
      give_up = now() + options_.give_up_after;
      backoff.Reset();
    }
    if (now() >= give_up) {
      return IsCoordinatorFull(status) ? status : absl::UnavailableError(status.message());
    }
    Log(LogLevel::kDebug, "blob transfer broke off", {{"error", status.ToString()}, {"moved_bytes", moved}});
    if (!PauseUnlessCancelled(backoff.Next())) return absl::CancelledError("the task was cancelled");
  }
}

bool StreamedBlobStore::PauseUnlessCancelled(absl::Duration pause) {
  const absl::Duration until = Clock::Real().Monotonic() + pause;
  for (absl::Duration left = pause; left > absl::ZeroDuration(); left = until - Clock::Real().Monotonic()) {
    if (options_.cancelled()) return false;
    absl::SleepFor(std::min(kCancelPoll, left));
  }
  return !options_.cancelled();
}

void StreamedBlobStore::Touch(const Digest& digest) {
  std::vector<Digest> overflow;
  {
    absl::MutexLock lock(&mutex_);
    if (auto found = position_.find(digest.sha256); found != position_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
    } else {
      recent_.push_front(digest);
      position_[digest.sha256] = recent_.begin();
      cached_bytes_ += digest.size_bytes;
    }
    overflow = OverflowLocked(digest);
  }
  for (const Digest& old : overflow) {
    std::error_code ignored;
    std::filesystem::remove(cache_->PathOf(old), ignored);
    metrics_.CountBlobCache("evicted");
  }
}

bool StreamedBlobStore::EvictOldest() {
  Digest oldest;
  {
    absl::MutexLock lock(&mutex_);
    if (recent_.empty()) return false;
    oldest = recent_.back();
    cached_bytes_ -= oldest.size_bytes;
    position_.erase(oldest.sha256);
    recent_.pop_back();
  }
  std::error_code ignored;
  std::filesystem::remove(cache_->PathOf(oldest), ignored);
  metrics_.CountBlobCache("evicted");
  return true;
}

std::vector<Digest> StreamedBlobStore::OverflowLocked(const Digest& newest) {
  std::vector<Digest> overflow;
  while (cached_bytes_ > options_.cache_bytes && recent_.back().sha256 != newest.sha256) {
    overflow.push_back(recent_.back());
    cached_bytes_ -= recent_.back().size_bytes;
    position_.erase(recent_.back().sha256);
    recent_.pop_back();
  }
  return overflow;
}

int64_t StreamedBlobStore::cached_bytes() const {
  absl::MutexLock lock(&mutex_);
  return cached_bytes_;
}

}  // namespace quantmoe
