#include "worker/blob_access.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
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

absl::Status CheckSharedDirectory(const v1::Welcome& welcome) {
  const std::string& dir = welcome.blob_dir();
  const auto error = [&dir](absl::string_view what) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "BLOB_DIR_NOT_SHARED",
                     absl::StrCat("the coordinator's blob directory ", dir, " ", what), {{"blob_dir", dir}});
  };
  std::ifstream probe(std::filesystem::path(dir) / welcome.blob_dir_probe(), std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(probe), {});
  if (dir.empty() || welcome.blob_dir_probe_text().empty() || text != welcome.blob_dir_probe_text()) {
    return error("is not visible here");
  }
  const std::string staging = absl::StrCat(dir, "/staging");
  if (::faccessat(AT_FDCWD, staging.c_str(), W_OK | X_OK, AT_EACCESS) == 0 || errno == ENOENT)
    return absl::OkStatus();
  return error(absl::StrCat("cannot be written to: ", std::strerror(errno)));
}

absl::StatusOr<BlobAccess> OpenBlobs(BlobMode mode, const v1::Welcome& welcome, const BlobAccess& current,
                                     const StreamedBlobStore::Options& streamed,
                                     v1::BlobService::StubInterface& service, WorkerMetrics& metrics) {
  const absl::Status shared = CheckSharedDirectory(welcome);
  if (mode == BlobMode::kShared) RETURN_IF_ERROR(shared);
  const bool shares = mode != BlobMode::kStreamed && shared.ok();
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
