#include "server/wire/blob_service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/status_macros.h"
#include "server/facts/task_rows.h"
#include "server/wire/chunk_stream.h"
#include "server/wire/unary_call.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "BlobService";

absl::Status CheckDigest(const v1::Digest& digest, absl::string_view field) {
  if (IsSha256(digest.sha256()) && digest.size_bytes() >= 0) return absl::OkStatus();
  return InvalidFields({{std::string(field), "needs 64 lower-case hexadecimal characters and a size"}});
}

absl::Status FindMissing(LocalBlobStore& blobs, const v1::FindMissingBlobsRequest& request,
                         v1::FindMissingBlobsResponse& response) {
  for (int i = 0; i < request.digests_size(); ++i) {
    RETURN_IF_ERROR(CheckDigest(request.digests(i), absl::StrCat("digests[", i, "]")));
    ASSIGN_OR_RETURN(const bool stored, blobs.Contains(FromProto(request.digests(i))));
    if (!stored) *response.add_missing() = request.digests(i);
  }
  return absl::OkStatus();
}

absl::Status CheckUploadId(const std::string& id) {
  if (id.empty() || IsUploadId(id)) return absl::OkStatus();
  return InvalidFields({{"upload_id", "has 1 to 64 letters, digits or hyphens"}});
}

absl::Status UploadStatus(LocalBlobStore& blobs, const v1::GetUploadStatusRequest& request,
                          v1::GetUploadStatusResponse& response) {
  const v1::Digest& digest = request.digest();
  RETURN_IF_ERROR(CheckDigest(digest, "digest"));
  RETURN_IF_ERROR(CheckUploadId(request.upload_id()));
  ASSIGN_OR_RETURN(const bool stored, blobs.Contains(FromProto(digest)));
  response.set_complete(stored);
  response.set_committed_bytes(digest.size_bytes());
  if (stored) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t kept, blobs.PartialSize(FromProto(digest), request.upload_id()));
  response.set_committed_bytes(kept);
  return absl::OkStatus();
}

// One upload: reads a message, lets a room append it, reads the next. Reads and work alternate, so no
// lock.
class Upload final : public grpc::ServerReadReactor<v1::UploadBlobRequest> {
 public:
  Upload(ServiceContext& context, Executor& room, v1::UploadBlobResponse* response)
      : context_(context),
        room_(room),
        record_(context.metrics, kService, "UploadBlob"),
        response_(response) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override { Post(ok ? &Upload::Receive : &Upload::Complete); }
  void OnDone() override { delete this; }

 private:
  // Runs the step in the room; its status ends the call when it is not OK or the upload is complete.
  void Post(absl::Status (Upload::*step)()) {
    const bool posted = room_.Post([this, step] {
      const absl::Status status = (this->*step)();
      if (IsDiskUnusable(status)) return EndUnusable(status);
      if (!status.ok() || done_) return End(status);
      StartRead(&request_);
    });
    if (!posted) End(QueueFull());
  }

  void End(const absl::Status& status) {
    const grpc::Status wire = ToGrpcStatus(status);
    record_.End(wire);
    Finish(wire);
  }

  // The uploader must be able to tell this disk from its own.
  void EndUnusable(const absl::Status& status) {
    context_.disk.NoteFailure(status);
    End(MakeError(status.code(), GetErrorInfo(status).reason,
                  absl::StrCat("the disk of the coordinator: ", status.message()),
                  {{"place", "coordinator"}}));
  }

  absl::Status Receive() {
    RETURN_IF_ERROR(CheckFieldLimits(request_));
    if (digest_.sha256.empty()) RETURN_IF_ERROR(Begin());
    if (done_ || !request_.has_chunk()) return absl::OkStatus();
    if (std::exchange(first_, false) && request_.chunk().offset() == 0) {
      RETURN_IF_ERROR(context_.blobs().DropPartial(digest_, upload_));
    }
    const v1::Chunk& chunk = request_.chunk();
    const int64_t length = static_cast<int64_t>(chunk.data().size());
    if (length > kMaxChunkBytes)
      return InvalidFields({{"chunk.data", absl::StrCat("at most ", kMaxChunkBytes)}});
    if (chunk.offset() < 0 || chunk.offset() + length > digest_.size_bytes) {
      return InvalidFields({{"chunk.offset", absl::StrCat("beyond the size ", digest_.size_bytes)}});
    }
    RETURN_IF_ERROR(context_.blobs().AppendPartial(digest_, chunk.offset(), chunk.data(), upload_));
    context_.metrics.BlobBytes("upload", length);
    CrashPoint("upload-chunk-stored");
    return absl::OkStatus();
  }

  absl::Status Begin() {
    RETURN_IF_ERROR(CheckDigest(request_.digest(), "digest"));
    RETURN_IF_ERROR(CheckUploadId(request_.upload_id()));
    digest_ = FromProto(request_.digest());
    upload_ = request_.upload_id();
    ASSIGN_OR_RETURN(done_, context_.blobs().Contains(digest_));
    *response_->mutable_digest() = request_.digest();
    return absl::OkStatus();
  }

  // The client has sent everything, or is gone: then what arrived is kept.
  absl::Status Complete() {
    done_ = true;
    if (digest_.sha256.empty()) return InvalidFields({{"digest", "the first message must name the blob"}});
    ASSIGN_OR_RETURN(const int64_t kept, context_.blobs().PartialSize(digest_, upload_));
    if (kept < digest_.size_bytes) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "UPLOAD_INCOMPLETE",
                       absl::StrCat("bytes ", kept, " of ", digest_.size_bytes),
                       {{"committed_bytes", absl::StrCat(kept)}});
    }
    // An empty blob has no chunk that would have made its staging file.
    if (digest_.size_bytes == 0) RETURN_IF_ERROR(context_.blobs().AppendPartial(digest_, 0, "", upload_));
    return context_.blobs().CommitPartial(digest_, upload_);
  }

  ServiceContext& context_;
  Executor& room_;
  RpcRecord record_;
  v1::UploadBlobResponse* response_;
  v1::UploadBlobRequest request_;
  Digest digest_;
  std::string upload_;
  bool first_ = true;  // no chunk has come yet
  bool done_ = false;
};

}  // namespace

grpc::ServerUnaryReactor* BlobServiceHandler::FindMissingBlobs(grpc::CallbackServerContext* call,
                                                               const v1::FindMissingBlobsRequest* request,
                                                               v1::FindMissingBlobsResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "FindMissingBlobs");
  RunIn(room_, reply, [this, reply, request, response] {
    reply.Finish(FindMissing(context_.blobs(), *request, *response));
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* BlobServiceHandler::GetUploadStatus(grpc::CallbackServerContext* call,
                                                              const v1::GetUploadStatusRequest* request,
                                                              v1::GetUploadStatusResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "GetUploadStatus");
  RunIn(room_, reply, [this, reply, request, response] {
    reply.Finish(UploadStatus(context_.blobs(), *request, *response));
  });
  return reply.reactor();
}

grpc::ServerReadReactor<v1::UploadBlobRequest>* BlobServiceHandler::UploadBlob(
    grpc::CallbackServerContext*, v1::UploadBlobResponse* response) {
  return new Upload(context_, room_, response);  // deletes itself in OnDone
}

grpc::ServerWriteReactor<v1::Chunk>* BlobServiceHandler::DownloadBlob(
    grpc::CallbackServerContext*, const v1::DownloadBlobRequest* request) {
  const Digest digest = FromProto(request->digest());
  const auto locate = [this, digest,
                       checked = CheckDigest(request->digest(), "digest")]() -> absl::StatusOr<FileOpener> {
    RETURN_IF_ERROR(checked);
    return FileOpener([this, digest] { return context_.blobs().Open(digest); });
  };
  return StartChunkStream(context_, room_, kService, "DownloadBlob", *request, request->offset(), locate);
}

}  // namespace quantmoe
