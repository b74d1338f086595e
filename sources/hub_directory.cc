#include "sources/hub_directory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include <openssl/evp.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "sources/hub_cache.h"
#include "sources/hub_client.h"
#include "storage/digest.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

using FilesByName = std::map<std::string, HubFile>;

// Ranges longer than this are fetched in several requests, so that each is kept once it is there.
constexpr int64_t kLargestFetch = int64_t{256} << 20;

// Hexadecimal digest of a stored file, as the hub names its content: SHA-256, or git's SHA-1 of a blob.
std::string ContentName(const HubFile& file, absl::string_view bytes) {
  if (file.large) return DigestOf(bytes).sha256;
  const std::string header = absl::StrCat("blob ", bytes.size(), std::string(1, '\0'));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr);
  EVP_DigestUpdate(context.get(), header.data(), header.size());
  EVP_DigestUpdate(context.get(), bytes.data(), bytes.size());
  EVP_DigestFinal_ex(context.get(), digest, &size);
  std::string name;
  for (unsigned i = 0; i < size; ++i) absl::StrAppend(&name, absl::Hex(digest[i], absl::kZeroPad2));
  return name;
}

absl::Status WriteAt(int fd, int64_t position, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), position);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError(errno, "cannot write to the cache of the hub");
    bytes.remove_prefix(static_cast<size_t>(written));
    position += written;
  }
  return absl::OkStatus();
}

bool IsCommit(absl::string_view revision) {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

class HubDirectory : public ModelDirectory {
 public:
  HubDirectory(std::unique_ptr<HubClient> client, std::unique_ptr<HubCache> cache, ModelUri uri,
               std::string folder, int64_t coalesce_gap_bytes)
      : client_(std::move(client)),
        cache_(std::move(cache)),
        uri_(std::move(uri)),
        folder_(std::move(folder)),
        coalesce_gap_bytes_(coalesce_gap_bytes) {}

  // The commit first, and nothing but the commit afterwards.
  absl::Status Pin() {
    if (!IsCommit(uri_.revision)) {
      ASSIGN_OR_RETURN(uri_.revision, client_->ResolveRevision(uri_.path, uri_.revision));
    }
    return LearnFolder("");
  }

  const ModelUri& uri() const override { return uri_; }

  absl::StatusOr<std::vector<ModelFile>> List() override { return ListBelow(""); }

  absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) override {
    RETURN_IF_ERROR(CheckFileName(folder));
    return ListBelow(folder);
  }

  absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) override {
    ASSIGN_OR_RETURN(const HubFile* file, Find(name));
    if (offset < 0 || length < 0 || offset > file->size_bytes || length > file->size_bytes - offset) {
      return absl::OutOfRangeError(
          absl::StrCat(name, " has ", file->size_bytes, " bytes, not ", length, " at offset ", offset));
    }
    if (length == 0) return MappedFile();
    const bool whole = offset == 0 && length == file->size_bytes;
    return cache_->FindOrFill(Key(*file), offset, length, /*resumable=*/whole, [&](int fd, int64_t present) {
      return whole ? FetchWhole(*file, fd, present) : Fetch(*file, offset, length, fd, present);
    });
  }

  absl::Status Prefetch(const std::string& name, std::vector<ByteRange> ranges) override {
    ASSIGN_OR_RETURN(const HubFile* file, Find(name));
    const std::string key = Key(*file);
    std::erase_if(ranges, [&](const ByteRange& range) {
      return range.length == 0 || cache_->Holds(key, range.offset, range.length);
    });
    for (const ByteRange& range : CoalesceRanges(std::move(ranges), coalesce_gap_bytes_, kLargestFetch)) {
      RETURN_IF_ERROR(Read(name, range.offset, range.length).status());
    }
    return absl::OkStatus();
  }

 private:
  // "" is the model itself. A folder that does not exist has no files.
  absl::StatusOr<std::vector<ModelFile>> ListBelow(const std::string& folder) {
    RETURN_IF_ERROR(LearnFolder(folder));
    absl::MutexLock lock(&mutex_);
    std::vector<ModelFile> listed;
    for (const auto& [name, file] : folders_.at(folder)) listed.push_back({name, file.size_bytes, file.oid});
    return listed;
  }

  // Lists a folder of the model once.
  absl::Status LearnFolder(const std::string& folder) {
    {
      absl::MutexLock lock(&mutex_);
      if (folders_.contains(folder)) return absl::OkStatus();
    }
    std::string path = folder_;
    if (!folder.empty()) absl::StrAppend(&path, path.empty() ? "" : "/", folder);
    absl::StatusOr<std::vector<HubFile>> listed = ListCommit(path);
    if (absl::IsNotFound(listed.status()) && !folder.empty()) listed = std::vector<HubFile>();
    RETURN_IF_ERROR(listed.status());
    FilesByName files;
    for (HubFile& file : *listed) {
      absl::string_view rest = file.path;
      if (!path.empty() && !(absl::ConsumePrefix(&rest, path) && absl::ConsumePrefix(&rest, "/"))) continue;
      if (absl::StrContains(rest, '/') || !CheckFileName(rest).ok()) continue;
      std::string name = folder.empty() ? std::string(rest) : absl::StrCat(folder, "/", rest);
      files.emplace(std::move(name), std::move(file));
    }
    absl::MutexLock lock(&mutex_);
    folders_.try_emplace(folder, std::move(files));
    return absl::OkStatus();
  }

  // A commit never changes, so its list is kept.
  absl::StatusOr<std::vector<HubFile>> ListCommit(const std::string& folder) {
    const std::string key = DigestOf(absl::StrCat("folder\n", client_->endpoint(), "\n", uri_.path, "\n",
                                                  uri_.revision, "\n", folder))
                                .sha256;
    if (const std::optional<std::string> text = cache_->FindDocument(key)) {
      if (std::optional<std::vector<HubFile>> files = HubFilesFromJson(*text)) return *std::move(files);
    }
    ASSIGN_OR_RETURN(std::vector<HubFile> files, client_->ListFiles(uri_.path, uri_.revision, folder));
    RETURN_IF_ERROR(cache_->PutDocument(key, HubFilesToJson(files)));
    return files;
  }

  // Not the commit: a file that another commit left alone is the same bytes.
  std::string Key(const HubFile& file) const {
    return DigestOf(
               absl::StrCat("file\n", client_->endpoint(), "\n", uri_.path, "\n", file.path, "\n", file.oid))
        .sha256;
  }

  // What is known of a folder is never changed, so the pointer stays good.
  absl::StatusOr<const HubFile*> Find(const std::string& name) {
    RETURN_IF_ERROR(CheckFileName(name));
    const size_t slash = name.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : name.substr(0, slash);
    RETURN_IF_ERROR(LearnFolder(folder));
    absl::MutexLock lock(&mutex_);
    const FilesByName& files = folders_.at(folder);
    const auto found = files.find(name);
    if (found == files.end()) return FileNotFound(name);
    return &found->second;
  }

  absl::Status Fetch(const HubFile& file, int64_t offset, int64_t length, int fd, int64_t present) {
    return client_->Download(
        uri_.path, uri_.revision, file, offset, length, present,
        [fd](int64_t position, absl::string_view bytes) { return WriteAt(fd, position, bytes); });
  }

  absl::Status FetchWhole(const HubFile& file, int fd, int64_t present) {
    std::string found;
    for (int tries = 0; tries < 2; ++tries) {
      RETURN_IF_ERROR(Fetch(file, 0, file.size_bytes, fd, present));
      ASSIGN_OR_RETURN(const MappedFile map,
                       MappedFile::OpenRange(absl::StrCat("/proc/self/fd/", fd), 0, file.size_bytes));
      found = ContentName(file, map.bytes());
      if (found == file.oid) return absl::OkStatus();
      present = 0;
      if (::ftruncate(fd, 0) != 0) return ErrnoError(errno, "cannot empty a file of the cache of the hub");
    }
    return MakeError(absl::StatusCode::kDataLoss, "HUB_DIGEST_MISMATCH",
                     absl::StrCat("file ", file.path, " of ", uri_.ToString(), " has ",
                                  file.large ? "SHA-256 " : "git blob ", found, ", the hub lists ", file.oid),
                     {{"file", file.path}});
  }

  const std::unique_ptr<HubClient> client_;
  const std::unique_ptr<HubCache> cache_;
  ModelUri uri_;
  const std::string folder_;
  const int64_t coalesce_gap_bytes_;
  absl::Mutex mutex_;
  std::map<std::string, FilesByName> folders_ ABSL_GUARDED_BY(mutex_);  // by path below the model
};

}  // namespace

std::string DefaultHubCacheDir() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && xdg[0] == '/') return absl::StrCat(xdg, "/quantmoe/hub");
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return absl::StrCat(home, "/.cache/quantmoe/hub");
  return absl::StrCat(std::filesystem::temp_directory_path().string(), "/quantmoe-hub-", ::getuid());
}

absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenHubDirectory(const ModelUri& uri,
                                                                 const HubOptions& options,
                                                                 const std::string& folder) {
  ASSIGN_OR_RETURN(std::unique_ptr<HubClient> client, HubClient::Create(options));
  ASSIGN_OR_RETURN(std::unique_ptr<HubCache> cache,
                   HubCache::Open(options.cache_dir.empty() ? DefaultHubCacheDir() : options.cache_dir,
                                  options.cache_bytes));
  auto directory = std::make_unique<HubDirectory>(std::move(client), std::move(cache), uri, folder,
                                                  options.coalesce_gap_bytes);
  RETURN_IF_ERROR(directory->Pin());
  return directory;
}

}  // namespace quantmoe
