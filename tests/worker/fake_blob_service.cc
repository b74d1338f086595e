#include "tests/worker/fake_blob_service.h"

#include <algorithm>

#include <grpcpp/server_builder.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"

namespace quantmoe {
namespace {

constexpr int64_t kDownloadChunkBytes = 1 << 20;

grpc::Status Unavailable() { return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"}; }

}  // namespace

FakeBlobService::FakeBlobService() {
  grpc::ServerBuilder builder;
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

FakeBlobService::~FakeBlobService() { server_->Shutdown(); }

std::unique_ptr<v1::BlobService::Stub> FakeBlobService::MakeStub() {
  return v1::BlobService::NewStub(server_->InProcessChannel({}));
}

Digest FakeBlobService::Store(const std::string& bytes) {
  const Digest digest = DigestOf(bytes);
  absl::MutexLock lock(&mutex_);
  blobs_[digest.sha256] = bytes;
  return digest;
}

bool FakeBlobService::Has(const Digest& digest) {
  absl::MutexLock lock(&mutex_);
  return blobs_.count(digest.sha256) > 0;
}

void FakeBlobService::Erase(const Digest& digest) {
  absl::MutexLock lock(&mutex_);
  blobs_.erase(digest.sha256);
}

void FakeBlobService::BreakStreams(int times, int64_t after_bytes) {
  absl::MutexLock lock(&mutex_);
  breaks_ = times;
  break_after_ = after_bytes;
}

void FakeBlobService::DamageDownloads(int times) {
  absl::MutexLock lock(&mutex_);
  damaged_downloads_ = times;
}

void FakeBlobService::DamageUploads(int times) {
  absl::MutexLock lock(&mutex_);
  damaged_uploads_ = times;
}

void FakeBlobService::SetDown(bool down) {
  absl::MutexLock lock(&mutex_);
  down_ = down;
}

int FakeBlobService::uploads() { return static_cast<int>(upload_offsets().size()); }

std::vector<int64_t> FakeBlobService::upload_offsets() {
  absl::MutexLock lock(&mutex_);
  return upload_offsets_;
}

std::vector<int64_t> FakeBlobService::download_offsets() {
  absl::MutexLock lock(&mutex_);
  return download_offsets_;
}

int64_t FakeBlobService::TakeAllowance() {
  absl::MutexLock lock(&mutex_);
  if (down_) return 0;
  if (breaks_ == 0) return -1;
  --breaks_;
  return break_after_;
}

grpc::Status FakeBlobService::FindMissingBlobs(grpc::ServerContext*,
                                               const v1::FindMissingBlobsRequest* request,
                                               v1::FindMissingBlobsResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (down_) return Unavailable();
  for (const v1::Digest& digest : request->digests()) {
    if (blobs_.count(digest.sha256()) == 0) *response->add_missing() = digest;
  }
  return grpc::Status::OK;
}

grpc::Status FakeBlobService::GetUploadStatus(grpc::ServerContext*, const v1::GetUploadStatusRequest* request,
                                              v1::GetUploadStatusResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (down_) return Unavailable();
  response->set_complete(blobs_.count(request->digest().sha256()) > 0);
  response->set_committed_bytes(static_cast<int64_t>(partial_[request->digest().sha256()].size()));
  return grpc::Status::OK;
}

grpc::Status FakeBlobService::UploadBlob(grpc::ServerContext*,
                                         grpc::ServerReader<v1::UploadBlobRequest>* reader,
                                         v1::UploadBlobResponse* response) {
  const int64_t allowance = TakeAllowance();
  int64_t moved = 0;
  std::string sha256;
  for (v1::UploadBlobRequest request; reader->Read(&request);) {
    absl::MutexLock lock(&mutex_);
    if (request.has_digest()) {
      sha256 = request.digest().sha256();
      *response->mutable_digest() = request.digest();
      upload_offsets_.push_back(request.chunk().offset());
    }
    std::string& partial = partial_[sha256];
    if (request.chunk().offset() != static_cast<int64_t>(partial.size())) {
      return {grpc::StatusCode::OUT_OF_RANGE, "wrong offset"};
    }
    partial += request.chunk().data();
    moved += static_cast<int64_t>(request.chunk().data().size());
    if (allowance >= 0 && moved >= allowance) return Unavailable();
  }
  return CommitUpload(sha256);
}

grpc::Status FakeBlobService::CommitUpload(const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  std::string bytes = std::move(partial_[sha256]);
  partial_.erase(sha256);
  if (damaged_uploads_ > 0 && !bytes.empty()) {
    --damaged_uploads_;
    bytes.back() ^= 1;
  }
  if (DigestOf(bytes).sha256 != sha256) {
    return ToGrpcStatus(MakeError(absl::StatusCode::kInvalidArgument, "DIGEST_MISMATCH", "arrived damaged",
                                  {{"sha256", sha256}}));
  }
  blobs_[sha256] = bytes;
  return grpc::Status::OK;
}

grpc::Status FakeBlobService::DownloadBlob(grpc::ServerContext*, const v1::DownloadBlobRequest* request,
                                           grpc::ServerWriter<v1::Chunk>* writer) {
  const int64_t allowance = TakeAllowance();
  std::string bytes;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = blobs_.find(request->digest().sha256());
    if (found == blobs_.end()) return {grpc::StatusCode::NOT_FOUND, "no such blob"};
    bytes = found->second;
    if (damaged_downloads_ > 0 && !bytes.empty()) {
      --damaged_downloads_;
      bytes.back() ^= 1;
    }
    download_offsets_.push_back(request->offset());
  }
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t end = allowance < 0 ? size : std::min(size, request->offset() + allowance);
  v1::Chunk chunk;
  for (int64_t offset = request->offset(); offset < end; offset += kDownloadChunkBytes) {
    chunk.set_offset(offset);
    chunk.set_data(bytes.substr(offset, std::min(kDownloadChunkBytes, end - offset)));
    writer->Write(chunk);
  }
  return end < size ? Unavailable() : grpc::Status::OK;
}

}  // namespace quantmoe
