#include "client/transfer/upload.h"

#include <fstream>
#include <istream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "storage/file_digest.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr size_t kChunkBytes = 2 << 20;
constexpr int kMaxTriesWithoutProgress = 5;
constexpr int kMaxDamagedUploads = 4;

// Apart from those of other clients: what they left of the same file may be damaged.
std::string RandomUploadId() {
  std::random_device random;
  return absl::StrCat(absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8),
                      absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8));
}

bool IsDamage(const absl::Status& status) { return GetErrorInfo(status).reason == "DIGEST_MISMATCH"; }

v1::Digest ToProto(const Digest& digest) {
  v1::Digest proto;
  proto.set_sha256(digest.sha256);
  proto.set_size_bytes(digest.size_bytes);
  return proto;
}

// Null where it cannot be read.
std::unique_ptr<std::istream> OpenAt(const UploadSource& source, int64_t offset) {
  if (source.bytes)
    return std::make_unique<std::istringstream>(source.bytes->substr(static_cast<size_t>(offset)));
  auto file = std::make_unique<std::ifstream>(source.path, std::ios::binary);
  if (!*file || !file->seekg(offset)) return nullptr;
  return file;
}

// Sends the bytes from `offset`. A write that fails means that the server has ended the call; its status says
// why.
absl::Status SendFrom(const Connection& connection, const Digest& digest, const std::string& upload_id,
                      const UploadSource& source, int64_t offset) {
  const std::unique_ptr<std::istream> file = OpenAt(source, offset);
  if (file == nullptr) return absl::NotFoundError(absl::StrCat("cannot read ", source.path));
  grpc::ClientContext context;
  connection.Prepare(context, absl::InfiniteDuration());
  v1::UploadBlobResponse response;
  auto writer = connection.blobs().UploadBlob(&context, &response);
  v1::UploadBlobRequest request;
  *request.mutable_digest() = ToProto(digest);
  request.set_upload_id(upload_id);
  bool open = writer->Write(request);
  std::vector<char> buffer(kChunkBytes);
  while (open && offset < digest.size_bytes) {
    file->read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    if (file->gcount() == 0) {
      context.TryCancel();
      return absl::FailedPreconditionError(
          absl::StrCat(source.path, " has become shorter while it was sent"));
    }
    request.Clear();
    request.mutable_chunk()->set_offset(offset);
    request.mutable_chunk()->set_data(buffer.data(), static_cast<size_t>(file->gcount()));
    offset += file->gcount();
    open = writer->Write(request);
  }
  if (open) writer->WritesDone();
  return FromGrpcStatus(writer->Finish());
}

}  // namespace

absl::Status UploadFile(const Connection& connection, const Digest& digest, const UploadSource& source) {
  Backoff backoff(connection.backoff());
  v1::GetUploadStatusRequest request;
  *request.mutable_digest() = ToProto(digest);
  request.set_upload_id(RandomUploadId());
  int64_t best = -1;
  for (int tries = 0, damaged = 0;;) {
    ASSIGN_OR_RETURN(
        const v1::GetUploadStatusResponse kept,
        connection.CallWithRetry(connection.blobs(), &v1::BlobService::Stub::GetUploadStatus, request));
    if (kept.complete()) return absl::OkStatus();
    tries = kept.committed_bytes() > best ? 1 : tries + 1;
    best = std::max(best, kept.committed_bytes());
    absl::Status sent = SendFrom(connection, digest, request.upload_id(), source, kept.committed_bytes());
    if (sent.ok()) return sent;
    if (IsDamage(sent) && ++damaged < kMaxDamagedUploads) {
      // On the way, unless the file has changed since it was hashed.
      if (source.bytes) continue;
      ASSIGN_OR_RETURN(const Digest now, DigestOfFile(source.path));
      if (now == digest) continue;
    }
    if (!IsRetryable(sent) || tries == kMaxTriesWithoutProgress)
      return Annotate(sent, absl::StrCat("upload of ", source.path));
    absl::SleepFor(backoff.Next());
  }
}

absl::StatusOr<Digest> FileUploads::Add(const std::string& path) {
  if (const auto known = digests_.find(path); known != digests_.end()) return known->second;
  UploadSource source{path};
  if (!CanBeReadAgain(path)) source.bytes.emplace();
  Sha256 hash;
  bool blank = true;
  RETURN_IF_ERROR(ReadChunks(path, kMaxDataBytes, [&](absl::string_view chunk) {
    hash.Update(chunk);
    blank = blank && IsBlank(chunk);
    if (source.bytes) absl::StrAppend(&*source.bytes, chunk);
  }));
  if (blank) return BlankFile(path);
  const Digest digest = hash.Finish();
  sources_.emplace(digest, std::move(source));
  digests_.emplace(path, digest);
  return digest;
}

absl::Status FileUploads::Send(const Connection& connection) const {
  if (sources_.empty()) return absl::OkStatus();
  v1::FindMissingBlobsRequest request;
  for (const auto& [digest, source] : sources_) *request.add_digests() = ToProto(digest);
  ASSIGN_OR_RETURN(
      const v1::FindMissingBlobsResponse response,
      connection.CallWithRetry(connection.blobs(), &v1::BlobService::Stub::FindMissingBlobs, request));
  for (const v1::Digest& missing : response.missing()) {
    const auto found = sources_.find(Digest{missing.sha256(), missing.size_bytes()});
    if (found == sources_.end())
      return absl::InternalError("the server misses a blob that it was not asked about");
    RETURN_IF_ERROR(UploadFile(connection, found->first, found->second));
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
