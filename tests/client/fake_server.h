// The services that the client calls, in this process and with faults on demand. Fields are set before the
// calls that use them; the server is reached over loopback.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <quantmoe/v1/artifacts.grpc.pb.h>
#include <quantmoe/v1/blobs.grpc.pb.h>
#include <quantmoe/v1/jobs.grpc.pb.h>
#include <quantmoe/v1/system.grpc.pb.h>

#include "client/transfer/connection.h"

namespace quantmoe {

class FakeJobs : public v1::JobService::Service {
 public:
  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                         v1::Job* job) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request, v1::Job* job) override;
  // The job of `others` with "-retry" after its name.
  grpc::Status RetryJob(grpc::ServerContext* context, const v1::RetryJobRequest* request,
                        v1::Job* job) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::Job* job) override;
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         v1::DeleteJobResponse* response) override;
  grpc::Status GetJobReport(grpc::ServerContext* context, const v1::GetJobReportRequest* request,
                            v1::JobReport* report) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override;

  v1::Job job;
  std::map<std::string, v1::Job> others;       // by name
  std::map<std::string, std::string> reports;  // by name of the job
  // Answers instead of `job` when it is set.
  std::function<grpc::Status(const v1::CreateJobRequest&, v1::Job*)> create;
  std::vector<v1::RetryJobRequest> retried;
  std::vector<std::string> deleted;
  int create_failures = 0;  // UNAVAILABLE answers before the first success
  int get_failures = 0;
  std::vector<v1::CreateJobRequest> created;
  std::vector<v1::JobEvent> log;
  std::vector<v1::JobEvent> notices;  // events without number that come first
  // Events of each successive stream; when they run out the whole rest is sent.
  std::vector<size_t> stream_lengths;
  size_t repeat = 0;  // events that a resumed stream sends once more
  bool never_end = false;
  std::vector<int64_t> cursors;  // after_seq of each stream
};

class FakeBlobs : public v1::BlobService::Service {
 public:
  grpc::Status FindMissingBlobs(grpc::ServerContext* context, const v1::FindMissingBlobsRequest* request,
                                v1::FindMissingBlobsResponse* response) override;
  grpc::Status GetUploadStatus(grpc::ServerContext* context, const v1::GetUploadStatusRequest* request,
                               v1::GetUploadStatusResponse* response) override;
  grpc::Status UploadBlob(grpc::ServerContext* context, grpc::ServerReader<v1::UploadBlobRequest>* reader,
                          v1::UploadBlobResponse* response) override;

  std::map<std::string, std::string> stored;   // by digest
  std::map<std::string, std::string> partial;  // by digest
  int breaks = 0;                              // uploads that end with UNAVAILABLE after their first chunk
  bool progress_before_break = true;           // whether that chunk is kept
  int damaged = 0;                             // uploads that arrive with other bytes
  std::vector<int64_t> first_offsets;          // of each upload
  size_t largest_chunk = 0;
};

class FakeArtifacts : public v1::ArtifactService::Service {
 public:
  grpc::Status GetArtifact(grpc::ServerContext* context, const v1::GetArtifactRequest* request,
                           v1::Artifact* artifact) override;
  grpc::Status DownloadArtifact(grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
                                grpc::ServerWriter<v1::Chunk>* writer) override;

  // Adds a file to the artifact.
  void Add(const std::string& path, const std::string& bytes);

  v1::Artifact artifact;
  std::map<std::string, std::string> bytes;
  int64_t chunk_bytes = 16;
  int breaks = 0;  // streams that end with UNAVAILABLE after their first chunk
  std::vector<std::pair<std::string, int64_t>> requests;  // file and offset
};

class FakeSystem : public v1::SystemService::Service {
 public:
  grpc::Status ListWorkers(grpc::ServerContext* context, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override;
};

class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::shared_ptr<grpc::Channel> channel() const { return channel_; }
  // A connection whose retries wait a millisecond at most.
  std::unique_ptr<Connection> Connect() const;

  FakeJobs jobs;
  FakeBlobs blobs;
  FakeArtifacts artifacts;
  FakeSystem system;

 private:
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

inline const BackoffOptions kFastBackoff = {absl::Milliseconds(1), absl::Milliseconds(1), 1.0};

}  // namespace quantmoe
