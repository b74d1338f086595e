#include "tests/client/fake_server.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

grpc::Status Unavailable() { return {grpc::StatusCode::UNAVAILABLE, "the connection was cut"}; }

}  // namespace

grpc::Status FakeJobs::CreateJob(grpc::ServerContext*, const v1::CreateJobRequest* request,
                                 v1::Job* response) {
  created.push_back(*request);
  if (create_failures-- > 0) return Unavailable();
  if (create) return create(*request, response);
  *response = job;
  return grpc::Status::OK;
}

grpc::Status FakeJobs::GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* response) {
  if (get_failures > 0 && get_failures-- > 0) return Unavailable();
  if (const auto other = others.find(request->name()); other != others.end()) {
    *response = other->second;
    return grpc::Status::OK;
  }
  if (request->name() != job.name())
    return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no job ", request->name())};
  *response = job;
  return grpc::Status::OK;
}

grpc::Status FakeJobs::RetryJob(grpc::ServerContext*, const v1::RetryJobRequest* request, v1::Job* response) {
  retried.push_back(*request);
  *response = others.at(request->name() + "-retry");
  return grpc::Status::OK;
}

grpc::Status FakeJobs::CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                                 v1::Job* response) {
  v1::GetJobRequest get;
  get.set_name(request->name());
  return GetJob(context, &get, response);
}

grpc::Status FakeJobs::DeleteJob(grpc::ServerContext*, const v1::DeleteJobRequest* request,
                                 v1::DeleteJobResponse*) {
  if (request->name() != job.name())
    return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no job ", request->name())};
  deleted.push_back(request->name());
  return grpc::Status::OK;
}

grpc::Status FakeJobs::GetJobReport(grpc::ServerContext*, const v1::GetJobReportRequest* request,
                                    v1::JobReport* response) {
  response->set_json(reports[request->name()]);
  return grpc::Status::OK;
}

// Two pages of one job each.
grpc::Status FakeJobs::ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                                v1::ListJobsResponse* response) {
  response->add_jobs()->set_name(request->page_token().empty() ? "jobs/first" : "jobs/second");
  if (request->page_token().empty()) response->set_next_page_token("next");
  return grpc::Status::OK;
}

grpc::Status FakeJobs::WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                                grpc::ServerWriter<v1::JobEvent>* writer) {
  const size_t stream = cursors.size();
  cursors.push_back(request->after_seq());
  const bool cut = stream < stream_lengths.size();
  size_t left = cut ? stream_lengths[stream] : log.size();
  const int64_t from = request->after_seq() - static_cast<int64_t>(stream > 0 ? repeat : 0);
  for (const v1::JobEvent& notice : notices) writer->Write(notice);
  for (const v1::JobEvent& event : log) {
    if (event.seq() <= from) continue;
    if (left-- == 0) break;
    writer->Write(event);
  }
  while (never_end && !context->IsCancelled()) {
    v1::JobEvent heartbeat;
    heartbeat.mutable_heartbeat();
    if (!writer->Write(heartbeat)) break;
  }
  return cut ? Unavailable() : grpc::Status::OK;
}

grpc::Status FakeBlobs::FindMissingBlobs(grpc::ServerContext*, const v1::FindMissingBlobsRequest* request,
                                         v1::FindMissingBlobsResponse* response) {
  for (const v1::Digest& digest : request->digests()) {
    if (stored.count(digest.sha256()) == 0) *response->add_missing() = digest;
  }
  return grpc::Status::OK;
}

grpc::Status FakeBlobs::GetUploadStatus(grpc::ServerContext*, const v1::GetUploadStatusRequest* request,
                                        v1::GetUploadStatusResponse* response) {
  response->set_complete(stored.count(request->digest().sha256()) > 0);
  response->set_committed_bytes(static_cast<int64_t>(partial[request->digest().sha256()].size()));
  return grpc::Status::OK;
}

grpc::Status FakeBlobs::UploadBlob(grpc::ServerContext*, grpc::ServerReader<v1::UploadBlobRequest>* reader,
                                   v1::UploadBlobResponse*) {
  v1::UploadBlobRequest request;
  if (!reader->Read(&request)) return {grpc::StatusCode::INVALID_ARGUMENT, "no digest"};
  const v1::Digest digest = request.digest();
  std::string& bytes = partial[digest.sha256()];
  first_offsets.push_back(static_cast<int64_t>(bytes.size()));
  while (reader->Read(&request)) {
    if (request.chunk().offset() != static_cast<int64_t>(bytes.size())) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "wrong offset"};
    }
    largest_chunk = std::max(largest_chunk, request.chunk().data().size());
    if (breaks > 0 && !progress_before_break) return --breaks, Unavailable();
    bytes += request.chunk().data();
    if (breaks > 0) return --breaks, Unavailable();
  }
  if (damaged > 0 && !bytes.empty()) bytes[0] ^= 1, --damaged;
  if (DigestOf(bytes).sha256 != digest.sha256()) {
    partial.erase(digest.sha256());
    return ToGrpcStatus(MakeError(absl::StatusCode::kInvalidArgument, "DIGEST_MISMATCH", "arrived damaged"));
  }
  stored[digest.sha256()] = bytes;
  return grpc::Status::OK;
}

void FakeArtifacts::Add(const std::string& path, const std::string& content) {
  bytes[path] = content;
  v1::ArtifactFile& file = *artifact.add_files();
  file.set_path(path);
  file.mutable_digest()->set_sha256(DigestOf(content).sha256);
  file.mutable_digest()->set_size_bytes(static_cast<int64_t>(content.size()));
}

grpc::Status FakeArtifacts::GetArtifact(grpc::ServerContext*, const v1::GetArtifactRequest* request,
                                        v1::Artifact* response) {
  if (request->name() != artifact.name()) return {grpc::StatusCode::NOT_FOUND, "no such artifact"};
  *response = artifact;
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::DownloadArtifact(grpc::ServerContext*, const v1::DownloadArtifactRequest* request,
                                             grpc::ServerWriter<v1::Chunk>* writer) {
  requests.emplace_back(request->file(), request->offset());
  const std::string& content = bytes[request->file()];
  for (size_t at = static_cast<size_t>(request->offset()); at < content.size();) {
    v1::Chunk chunk;
    chunk.set_offset(static_cast<int64_t>(at));
    chunk.set_data(content.substr(at, static_cast<size_t>(chunk_bytes)));
    at += chunk.data().size();
    writer->Write(chunk);
    if (breaks > 0) return --breaks, Unavailable();
  }
  return grpc::Status::OK;
}

// Two pages of one worker each.
grpc::Status FakeSystem::ListWorkers(grpc::ServerContext*, const v1::ListWorkersRequest* request,
                                     v1::ListWorkersResponse* response) {
  v1::Worker& worker = *response->add_workers();
  worker.set_id(request->page_token().empty() ? "worker-1" : "worker-2");
  worker.set_state(v1::Worker::BUSY);
  if (request->page_token().empty()) response->set_next_page_token("next");
  return grpc::Status::OK;
}

FakeServer::FakeServer() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  for (grpc::Service* service : std::initializer_list<grpc::Service*>{&jobs, &blobs, &artifacts, &system}) {
    builder.RegisterService(service);
  }
  server_ = builder.BuildAndStart();
  channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5)); }

std::unique_ptr<Connection> FakeServer::Connect() const {
  auto connection = std::make_unique<Connection>(channel_, absl::Seconds(30), "");
  connection->set_backoff(kFastBackoff);
  return connection;
}

}  // namespace quantmoe
