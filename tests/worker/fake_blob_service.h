// A BlobService in memory that breaks streams and damages bytes when a test asks for it. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include <grpcpp/server.h>

#include "quantmoe/v1/blobs.grpc.pb.h"
#include "storage/digest.h"

namespace quantmoe {

class FakeBlobService final : public v1::BlobService::Service {
 public:
  FakeBlobService();
  ~FakeBlobService() override;

  std::unique_ptr<v1::BlobService::Stub> MakeStub();

  Digest Store(const std::string& bytes);
  bool Has(const Digest& digest);
  void Erase(const Digest& digest);

  // Each of the next `times` streams breaks with UNAVAILABLE after this many bytes.
  void BreakStreams(int times, int64_t after_bytes);
  // One bit of the next download is wrong.
  void DamageNextDownload() { DamageDownloads(1); }
  void DamageDownloads(int times);
  // What the next so many uploads send is wrong when it arrives.
  void DamageUploads(int times);
  // Every call fails with UNAVAILABLE from now on, or no longer.
  void SetDown(bool down);

  int uploads();
  // Offsets at which streams began.
  std::vector<int64_t> upload_offsets();
  std::vector<int64_t> download_offsets();

  grpc::Status FindMissingBlobs(grpc::ServerContext*, const v1::FindMissingBlobsRequest* request,
                                v1::FindMissingBlobsResponse* response) override;
  grpc::Status GetUploadStatus(grpc::ServerContext*, const v1::GetUploadStatusRequest* request,
                               v1::GetUploadStatusResponse* response) override;
  grpc::Status UploadBlob(grpc::ServerContext*, grpc::ServerReader<v1::UploadBlobRequest>* reader,
                          v1::UploadBlobResponse* response) override;
  grpc::Status DownloadBlob(grpc::ServerContext*, const v1::DownloadBlobRequest* request,
                            grpc::ServerWriter<v1::Chunk>* writer) override;

 private:
  // How many bytes the stream that begins now may move; -1: all.
  int64_t TakeAllowance();
  grpc::Status CommitUpload(const std::string& sha256);

  absl::Mutex mutex_;
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> partial_ ABSL_GUARDED_BY(mutex_);
  int breaks_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t break_after_ ABSL_GUARDED_BY(mutex_) = 0;
  int damaged_downloads_ ABSL_GUARDED_BY(mutex_) = 0;
  int damaged_uploads_ ABSL_GUARDED_BY(mutex_) = 0;
  bool down_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int64_t> upload_offsets_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> download_offsets_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quantmoe
