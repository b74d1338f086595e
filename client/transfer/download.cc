#include "client/transfer/download.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/retry.h"
#include "base/status_macros.h"
#include "client/verify/artifact_check.h"
#include "storage/durable_file.h"
#include "storage/file_digest.h"
#include "storage/output_directory.h"
#include "storage/publication.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxTriesWithoutProgress = 5;

absl::Status DigestMismatch(const std::string& file) {
  return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                   absl::StrCat(file, ": the received bytes do not have the digest that the artifact names"),
                   {{"file", file}});
}

// Makes the bytes durable before the name appears.
absl::Status Publish(const fs::path& part, const fs::path& target) {
  const FileDescriptor file(open(part.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return ErrnoError(errno, absl::StrCat("cannot read ", part.string()));
  RETURN_IF_ERROR(Annotate(SyncFile(file.get()), target.string()));
  std::error_code error;
  fs::rename(part, target, error);
  return error ? ErrnoError(error.value(), absl::StrCat("cannot write ", target.string())) : absl::OkStatus();
}

// The files to fetch, the manifest last even where the server does not list it.
absl::StatusOr<std::vector<v1::ArtifactFile>> FilesInOrder(const v1::Artifact& artifact) {
  std::vector<v1::ArtifactFile> files;
  v1::ArtifactFile manifest;
  manifest.set_path(kManifestName);
  manifest.mutable_digest()->set_sha256(artifact.manifest_sha256());
  for (const v1::ArtifactFile& file : artifact.files()) {
    if (!IsSafeRelativePath(file.path()) || !IsSha256(file.digest().sha256())) {
      return absl::DataLossError(absl::StrCat("the artifact names a bad file: '", file.path(), "'"));
    }
    if (file.path() == kManifestName) {
      manifest = file;
    } else {
      files.push_back(file);
    }
  }
  if (IsSha256(manifest.digest().sha256())) files.push_back(std::move(manifest));
  return files;
}

bool HasBytesOf(const fs::path& path, const v1::ArtifactFile& file) {
  const absl::StatusOr<Digest> digest = DigestOfFile(path.string());
  return digest.ok() && digest->sha256 == file.digest().sha256();
}

// A file on its way: the `.part` file, its length, and the hash of what it holds.
class PartFile {
 public:
  explicit PartFile(fs::path path) : path_(std::move(path)) {}

  // Takes up what an earlier run left, unless it is longer than the whole can be.
  absl::Status Open(int64_t expected_bytes) {
    std::error_code error;
    const auto size = fs::file_size(path_, error);
    if (!error && expected_bytes > 0 && static_cast<int64_t>(size) > expected_bytes) fs::remove(path_, error);
    hash_.emplace();
    bytes_ = 0;
    RETURN_IF_ERROR(HashExisting());
    file_ = FileDescriptor(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    return file_.ok() ? absl::OkStatus() : ErrnoError(errno, absl::StrCat("cannot write ", path_.string()));
  }

  absl::Status Append(const std::string& data) {
    RETURN_IF_ERROR(Annotate(WriteAll(file_.get(), data), path_.string()));
    hash_->Update(data);
    bytes_ += static_cast<int64_t>(data.size());
    return absl::OkStatus();
  }

  // Digest of everything; closes the file.
  Digest Finish() {
    file_ = FileDescriptor();
    return hash_->Finish();
  }

  void Remove() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

  int64_t bytes() const { return bytes_; }
  const fs::path& path() const { return path_; }

 private:
  absl::Status HashExisting() {
    std::ifstream existing(path_, std::ios::binary);
    std::vector<char> buffer(1 << 20);
    while (existing) {
      existing.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      hash_->Update(absl::string_view(buffer.data(), static_cast<size_t>(existing.gcount())));
      bytes_ += existing.gcount();
    }
    if (existing.bad()) return absl::InternalError(absl::StrCat("cannot read ", path_.string()));
    return absl::OkStatus();
  }

  fs::path path_;
  FileDescriptor file_;
  std::optional<Sha256> hash_;
  int64_t bytes_ = 0;
};

class ArtifactDownload {
 public:
  ArtifactDownload(const Connection& connection, const v1::Artifact& artifact, const DownloadOptions& options)
      : connection_(connection), artifact_(artifact), options_(options) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(const std::vector<v1::ArtifactFile> files, FilesInOrder(artifact_));
    if (IsThere(files)) {
      for (const v1::ArtifactFile& file : files) Tell(file, /*kept=*/true);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::string target,
                     CheckOutputDirectory(options_.directory, {.overwrite = options_.overwrite}));
    ASSIGN_OR_RETURN(Publication publication, Publication::Begin(target, options_.overwrite));
    root_ = publication.staging();
    earlier_ = publication.replaced();
    if (HoldsOthers(files)) RETURN_IF_ERROR(publication.StartAgain());
    absl::Status fetched = TakeAll(files);
    if (fetched.ok()) return publication.Finish();
    std::error_code error;
    if (!fs::is_empty(root_, error) || error) {
      if (options_.on_interrupted) options_.on_interrupted(root_.string());
    } else {
      (void)publication.Discard();
    }
    return fetched;
  }

 private:
  // The whole artifact, from an earlier run.
  bool IsThere(const std::vector<v1::ArtifactFile>& files) const {
    const fs::path root = options_.directory;
    return std::all_of(files.rbegin(), files.rend(),
                       [&](const v1::ArtifactFile& file) { return HasBytesOf(root / file.path(), file); });
  }

  // What is staged is of another artifact.
  bool HoldsOthers(const std::vector<v1::ArtifactFile>& files) const {
    std::vector<ArtifactFile> ours;
    for (const v1::ArtifactFile& file : files) {
      ours.push_back({file.path(), {}});
      ours.push_back({PartOf(file.path()), {}});
    }
    return !FirstForeignEntry(root_.string(), ours).empty();
  }

  absl::Status TakeAll(const std::vector<v1::ArtifactFile>& files) const {
    for (const v1::ArtifactFile& file : files) {
      const bool kept = HasBytesOf(root_ / file.path(), file) || TakeFromEarlier(file);
      if (!kept) RETURN_IF_ERROR(FetchFile(file));
      Tell(file, kept);
    }
    return absl::OkStatus();
  }

  // A file that the artifact to be replaced has, too, is not fetched again.
  bool TakeFromEarlier(const v1::ArtifactFile& file) const {
    if (earlier_.empty() || !HasBytesOf(earlier_ / file.path(), file)) return false;
    std::error_code error;
    fs::create_directories((root_ / file.path()).parent_path(), error);
    fs::create_hard_link(earlier_ / file.path(), root_ / file.path(), error);
    return !error;
  }

  void Tell(const v1::ArtifactFile& file, bool kept) const {
    if (options_.on_file) options_.on_file(file, kept);
  }

  static std::string PartOf(const std::string& path) { return path + ".part"; }

  absl::Status FetchFile(const v1::ArtifactFile& file) const {
    const fs::path target = root_ / file.path();
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    if (error) return ErrnoError(error.value(), absl::StrCat("cannot make ", target.parent_path().string()));
    PartFile part(PartOf(target.string()));
    bool resumed = fs::exists(part.path(), error);
    while (true) {
      RETURN_IF_ERROR(part.Open(file.digest().size_bytes()));
      const absl::Status received = Receive(file, part);
      const Digest digest = part.Finish();
      RETURN_IF_ERROR(received);
      if (digest.sha256 == file.digest().sha256()) return Publish(part.path(), target);
      part.Remove();
      // What an earlier run left may be of another artifact: once more from the start.
      if (!std::exchange(resumed, false)) return DigestMismatch(file.path());
    }
  }

  absl::Status Receive(const v1::ArtifactFile& file, PartFile& part) const {
    Backoff backoff(connection_.backoff());
    for (int tries = 1;; ++tries) {
      const int64_t before = part.bytes();
      const absl::Status status = ReceiveOnce(file, part);
      if (part.bytes() > before) tries = 1;
      // Nothing is left after what is there: the digest decides.
      if (status.ok() || (absl::IsOutOfRange(status) && part.bytes() > 0)) return absl::OkStatus();
      if (!IsRetryable(status) || tries == kMaxTriesWithoutProgress) {
        return Annotate(status, absl::StrCat("download of ", file.path()));
      }
      absl::SleepFor(backoff.Next());
    }
  }

  absl::Status ReceiveOnce(const v1::ArtifactFile& file, PartFile& part) const {
    if (file.digest().size_bytes() > 0 && part.bytes() == file.digest().size_bytes()) return absl::OkStatus();
    grpc::ClientContext context;
    connection_.Prepare(context, absl::InfiniteDuration());
    v1::DownloadArtifactRequest request;
    request.set_name(artifact_.name());
    request.set_file(file.path());
    request.set_offset(part.bytes());
    auto reader = connection_.artifacts().DownloadArtifact(&context, request);
    v1::Chunk chunk;
    absl::Status status;
    while (status.ok() && reader->Read(&chunk)) status = Append(chunk, file, part);
    if (!status.ok()) context.TryCancel();
    const absl::Status finished = FromGrpcStatus(reader->Finish());
    if (!status.ok() || !finished.ok()) return status.ok() ? finished : status;
    if (part.bytes() < file.digest().size_bytes()) return absl::UnavailableError("the stream ended early");
    return absl::OkStatus();
  }

  static absl::Status Append(const v1::Chunk& chunk, const v1::ArtifactFile& file, PartFile& part) {
    if (chunk.offset() != part.bytes()) {
      return absl::DataLossError(
          absl::StrCat(file.path(), ": received bytes from ", chunk.offset(), ", expected ", part.bytes()));
    }
    const int64_t end = part.bytes() + static_cast<int64_t>(chunk.data().size());
    if (file.digest().size_bytes() > 0 && end > file.digest().size_bytes())
      return DigestMismatch(file.path());
    return part.Append(chunk.data());
  }

  const Connection& connection_;
  const v1::Artifact& artifact_;
  const DownloadOptions& options_;
  fs::path root_;     // where files are staged
  fs::path earlier_;  // an artifact that is replaced
};

}  // namespace

absl::Status DownloadArtifact(const Connection& connection, const v1::Artifact& artifact,
                              const DownloadOptions& options) {
  return ArtifactDownload(connection, artifact, options).Run();
}

}  // namespace quantmoe
