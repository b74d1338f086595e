#include "sources/object_store_directory.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include <arrow/buffer.h>
#include <arrow/filesystem/gcsfs.h>
#include <arrow/filesystem/s3fs.h>
#include <arrow/io/interfaces.h>
#include <arrow/result.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "sources/abandonable_call.h"

namespace quantmoe {
namespace {

using arrow::fs::FileInfo;

constexpr double kConnectSeconds = 5;
constexpr double kRequestSeconds = 30;
constexpr int kAttempts = 3;
// Of a whole call with its attempts, whatever trickles in meanwhile; a read of many bytes may take longer.
constexpr absl::Duration kCallLimit = absl::Minutes(2);
constexpr int64_t kLeastBytesPerSecond = int64_t{256} << 10;
// Arrow opens a file of GCS with a request for all of it, and reads ranges with others: an open file holds a
// connection and what its buffers took.
constexpr size_t kMostOpenGcsFiles = 4;

absl::Status FromArrow(const arrow::Status& status, const std::string& what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.message());
  for (const char* denial : {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH",
                             "PERMISSION_DENIED", "UNAUTHENTICATED"}) {
    if (absl::StrContains(message, denial)) {
      return MakeError(absl::StatusCode::kPermissionDenied, "SOURCE_ACCESS_DENIED", message);
    }
  }
  if (status.IsOutOfMemory()) return absl::ResourceExhaustedError(message);
  return MakeError(absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", message);
}

// What the call gives, never null. Arrow's calls end by their own timeouts only, which a server that sends a
// byte a second never meets; an interruption and the limit leave them to these.
template <typename T>
absl::StatusOr<std::shared_ptr<const T>> Await(const std::string& what,
                                               std::function<arrow::Result<T>()> call, int64_t bytes = 0) {
  std::shared_ptr<arrow::Result<T>> result;
  const absl::Duration limit = kCallLimit + absl::Seconds(bytes / kLeastBytesPerSecond);
  const absl::Status status = GetUnlessInterrupted<arrow::Result<T>>(limit, std::move(call), result);
  if (absl::IsDeadlineExceeded(status)) {
    return MakeError(absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE",
                     absl::StrCat(what, ": ", status.message()));
  }
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(FromArrow(result->status(), what));
  return std::shared_ptr<const T>(result, &result->ValueUnsafe());
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What the environment sets stays: inside AWS an operator sets AWS_EC2_METADATA_DISABLED=false.
absl::Status InitializeS3Once() {
  static const arrow::Status initialized = [] {
    // Outside AWS, looking for an instance role waits for an address that does not answer.
    ::setenv("AWS_EC2_METADATA_DISABLED", "true", /*overwrite=*/0);
    // Older S3 servers refuse the checksummed transfer encoding.
    ::setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required", /*overwrite=*/0);
    ::setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required", /*overwrite=*/0);
    arrow::fs::S3GlobalOptions options = arrow::fs::S3GlobalOptions::Defaults();
    options.log_level = arrow::fs::S3LogLevel::Fatal;
    return arrow::fs::InitializeS3(options);
  }();
  return FromArrow(initialized, "cannot start the S3 client");
}

void ApplyEndpoint(std::string endpoint, arrow::fs::S3Options& options) {
  absl::string_view address = endpoint;
  if (absl::ConsumePrefix(&address, "http://")) options.scheme = "http";
  absl::ConsumePrefix(&address, "https://");
  absl::ConsumeSuffix(&address, "/");
  options.endpoint_override = std::string(address);
}

absl::StatusOr<std::shared_ptr<arrow::fs::FileSystem>> ConnectS3() {
  RETURN_IF_ERROR(InitializeS3Once());
  arrow::fs::S3Options options = arrow::fs::S3Options::Defaults();
  std::string endpoint = Environment("AWS_ENDPOINT_URL_S3");
  if (endpoint.empty()) endpoint = Environment("AWS_ENDPOINT_URL");
  if (!endpoint.empty()) ApplyEndpoint(endpoint, options);
  options.region = Environment("AWS_REGION");
  if (options.region.empty()) options.region = Environment("AWS_DEFAULT_REGION");
  options.connect_timeout = kConnectSeconds;
  options.request_timeout = kRequestSeconds;
  options.retry_strategy = arrow::fs::S3RetryStrategy::GetAwsStandardRetryStrategy(kAttempts);
  ASSIGN_OR_RETURN(const auto connected,
                   Await<std::shared_ptr<arrow::fs::S3FileSystem>>(
                       "cannot set up S3", [options] { return arrow::fs::S3FileSystem::Make(options); }));
  // The SDK's threads must end before static objects do; the first client has made Arrow's own by now, so
  // this runs before they are destroyed.
  static const int registered = std::atexit([] { arrow::fs::EnsureS3Finalized().Warn(); });
  (void)registered;
  return std::shared_ptr<arrow::fs::FileSystem>(*connected);
}

absl::StatusOr<std::shared_ptr<arrow::fs::FileSystem>> ConnectGcs() {
  const bool emulated = !Environment("CLOUD_STORAGE_EMULATOR_ENDPOINT").empty();
  arrow::fs::GcsOptions options =
      emulated ? arrow::fs::GcsOptions::Anonymous() : arrow::fs::GcsOptions::Defaults();
  options.retry_limit_seconds = kRequestSeconds;
  auto connected = arrow::fs::GcsFileSystem::Make(options);
  RETURN_IF_ERROR(FromArrow(connected.status(), "cannot set up GCS"));
  return std::shared_ptr<arrow::fs::FileSystem>(*std::move(connected));
}

class ObjectStoreDirectory : public ModelDirectory {
 public:
  ObjectStoreDirectory(std::shared_ptr<arrow::fs::FileSystem> files, ModelUri uri)
      : files_(std::move(files)), uri_(std::move(uri)) {}

  absl::Status CheckExists() {
    ASSIGN_OR_RETURN(const auto info, Await<FileInfo>(uri_.ToString(), [files = files_, path = uri_.path] {
                       return files->GetFileInfo(path);
                     }));
    if (info->type() == arrow::fs::FileType::Directory) return absl::OkStatus();
    return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                     absl::StrCat(uri_.ToString(), " does not exist or is no directory"));
  }

  const ModelUri& uri() const override { return uri_; }

  absl::StatusOr<std::vector<ModelFile>> List() override { return ListBelow(""); }

  absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) override {
    RETURN_IF_ERROR(CheckFileName(folder));
    return ListBelow(folder);
  }

  absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(CheckFileName(name));
    if (offset < 0 || length < 0) return absl::OutOfRangeError(absl::StrCat(name, ": a negative range"));
    ASSIGN_OR_RETURN(const std::shared_ptr<arrow::io::RandomAccessFile> file, OpenFile(name));
    ASSIGN_OR_RETURN(const auto read,
                     Await<std::shared_ptr<arrow::Buffer>>(
                         absl::StrCat("cannot read ", name, " of ", uri_.ToString()),
                         [file, offset, length] { return file->ReadAt(offset, length); }, length));
    std::shared_ptr<arrow::Buffer> buffer = *read;
    if (buffer->size() < length) {
      return absl::OutOfRangeError(absl::StrCat(name, " ends before ", length, " bytes at offset ", offset));
    }
    const absl::string_view view(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(length));
    return MappedFile(std::move(buffer), view);
  }

 private:
  // A folder that does not exist has no files.
  absl::StatusOr<std::vector<ModelFile>> ListBelow(const std::string& folder) {
    arrow::fs::FileSelector selector;
    selector.base_dir = folder.empty() ? uri_.path : absl::StrCat(uri_.path, "/", folder);
    selector.allow_not_found = !folder.empty();
    ASSIGN_OR_RETURN(
        const auto infos,
        Await<std::vector<FileInfo>>(absl::StrCat("cannot list ", uri_.ToString()),
                                     [files = files_, selector] { return files->GetFileInfo(selector); }));
    std::vector<ModelFile> listed;
    for (const arrow::fs::FileInfo& info : *infos) {
      if (info.type() != arrow::fs::FileType::File) continue;
      listed.push_back({folder.empty() ? info.base_name() : absl::StrCat(folder, "/", info.base_name()),
                        info.size(), absl::StrCat(info.mtime().time_since_epoch().count())});
    }
    std::sort(listed.begin(), listed.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return listed;
  }

  // Opening asks the service for the size, so that each file is opened once.
  absl::StatusOr<std::shared_ptr<arrow::io::RandomAccessFile>> OpenFile(const std::string& name) {
    {
      absl::MutexLock lock(&mutex_);
      if (const auto found = open_.find(name); found != open_.end()) return found->second;
    }
    const std::string path = absl::StrCat(uri_.path, "/", name);
    ASSIGN_OR_RETURN(const auto info,
                     Await<FileInfo>(absl::StrCat("cannot find ", name),
                                     [files = files_, path] { return files->GetFileInfo(path); }));
    if (info->type() != arrow::fs::FileType::File) return FileNotFound(name);
    ASSIGN_OR_RETURN(const auto opened, Await<std::shared_ptr<arrow::io::RandomAccessFile>>(
                                            absl::StrCat("cannot open ", name),
                                            [files = files_, info] { return files->OpenInputFile(*info); }));
    absl::MutexLock lock(&mutex_);
    if (uri_.scheme == ModelUri::Scheme::kGcs && open_.size() >= kMostOpenGcsFiles) open_.clear();
    return open_.emplace(name, *opened).first->second;
  }

  const std::shared_ptr<arrow::fs::FileSystem> files_;
  const ModelUri uri_;
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<arrow::io::RandomAccessFile>> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenObjectStoreDirectory(const ModelUri& uri) {
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::fs::FileSystem> files,
                   uri.scheme == ModelUri::Scheme::kS3 ? ConnectS3() : ConnectGcs());
  auto directory = std::make_unique<ObjectStoreDirectory>(std::move(files), uri);
  RETURN_IF_ERROR(directory->CheckExists());
  return directory;
}

}  // namespace quantmoe
