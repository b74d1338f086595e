#include "worker/blob_access.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {

absl::StatusOr<BlobMode> ParseBlobMode(absl::string_view name) {
  if (name == "auto") return BlobMode::kAuto;
  if (name == "shared") return BlobMode::kShared;
  if (name == "streamed") return BlobMode::kStreamed;
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is not auto, shared or streamed"));
}

bool SharesBlobDirectory(const v1::Welcome& welcome) {
  if (welcome.blob_dir().empty() || welcome.blob_dir_probe_text().empty()) return false;
  std::ifstream probe(std::filesystem::path(welcome.blob_dir()) / welcome.blob_dir_probe(), std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(probe), {});
  return text == welcome.blob_dir_probe_text();
}

absl::StatusOr<BlobAccess> OpenBlobs(BlobMode mode, const v1::Welcome& welcome, const BlobAccess& current,
                                     const StreamedBlobStore::Options& streamed,
                                     v1::BlobService::StubInterface& service, WorkerMetrics& metrics) {
  const bool shares = mode != BlobMode::kStreamed && SharesBlobDirectory(welcome);
  if (mode == BlobMode::kShared && !shares) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "BLOB_DIR_NOT_SHARED",
        absl::StrCat("the coordinator's blob directory ", welcome.blob_dir(), " is not visible here"),
        {{"blob_dir", welcome.blob_dir()}});
  }
  const std::string shared_dir = shares ? welcome.blob_dir() : "";
  if (current.store != nullptr && current.shared_dir == shared_dir) return current;
  if (shares) {
    ASSIGN_OR_RETURN(auto local, LocalBlobStore::Open(shared_dir));
    return BlobAccess{std::shared_ptr<BlobStore>(std::move(local)), shared_dir};
  }
  ASSIGN_OR_RETURN(auto remote, StreamedBlobStore::Open(streamed, service, metrics));
  return BlobAccess{std::shared_ptr<BlobStore>(std::move(remote)), shared_dir};
}

}  // namespace quantmoe
