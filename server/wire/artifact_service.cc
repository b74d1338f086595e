#include "server/wire/artifact_service.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "server/facts/resource_names.h"
#include "server/facts/task_rows.h"
#include "server/report/job_view.h"
#include "server/wire/chunk_stream.h"
#include "server/wire/job_reader.h"
#include "server/wire/unary_call.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "ArtifactService";

absl::StatusOr<const Job*> FindPublished(const JobTable& table, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseArtifactName(name));
  const Job* job = table.Find(id);
  if (job == nullptr || !job->record.has_artifact()) return ArtifactNotFound(name);
  return job;
}

absl::StatusOr<v1::Digest> FindFile(const server::ArtifactRecord& artifact, const std::string& path) {
  if (path == "artifact.json") return artifact.manifest();
  for (const auto& file : artifact.files()) {
    if (file.path() == path) return file.digest();
  }
  return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                   absl::StrCat("the artifact has no file ", path), {{"file", path}});
}

// Damage of the published file must not reach a client unnoticed. The same bytes may still be among the
// blobs.
absl::StatusOr<MappedFile> OpenVerified(LocalBlobStore& blobs, const std::string& path,
                                        const v1::Digest& digest) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (file.ok() && DigestOf(file->bytes()).sha256 == digest.sha256()) return file;
  if (auto blob = blobs.Open(FromProto(digest)); blob.ok()) return blob;
  return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                   absl::StrCat(path, file.ok() ? " is damaged" : " is lost",
                                ": submit the job again, it computes only what is not stored intact"),
                   {{"sha256", digest.sha256()}});
}

}  // namespace

grpc::ServerUnaryReactor* ArtifactServiceHandler::GetArtifact(grpc::CallbackServerContext* call,
                                                              const v1::GetArtifactRequest* request,
                                                              v1::Artifact* response) {
  UnaryReply reply(context_, call, *request, kService, "GetArtifact");
  FinishOnLoop(context_, reply, [this, request, response]() -> absl::Status {
    loop_thread.AssertHeld();
    ASSIGN_OR_RETURN(const Job* job, FindPublished(context_.facts.table(), request->name()));
    *response = ViewArtifact(*job, context_.artifacts_dir);
    return absl::OkStatus();
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* ArtifactServiceHandler::ListArtifacts(grpc::CallbackServerContext* call,
                                                                const v1::ListArtifactsRequest* request,
                                                                v1::ListArtifactsResponse* response) {
  UnaryReply reply(context_, call, *request, kService, "ListArtifacts");
  FinishOnLoop(context_, reply, [this, request, response] {
    loop_thread.AssertHeld();
    return ListArtifactPage(context_.facts.table(), *request, context_.artifacts_dir, *response);
  });
  return reply.reactor();
}

grpc::ServerWriteReactor<v1::Chunk>* ArtifactServiceHandler::DownloadArtifact(
    grpc::CallbackServerContext*, const v1::DownloadArtifactRequest* request) {
  const auto locate = [this, name = request->name(), path = request->file()]() -> absl::StatusOr<FileOpener> {
    loop_thread.AssertHeld();
    ASSIGN_OR_RETURN(const Job* job, FindPublished(context_.facts.table(), name));
    ASSIGN_OR_RETURN(const v1::Digest digest, FindFile(job->record.artifact(), path));
    const std::string file = absl::StrCat(context_.artifacts_dir, "/", job->record.id(), "/", path);
    return FileOpener([this, file, digest] { return OpenVerified(context_.blobs(), file, digest); });
  };
  return StartChunkStream(context_, context_.rooms.blobs, kService, "DownloadArtifact", *request,
                          request->offset(), locate);
}

}  // namespace quantmoe
