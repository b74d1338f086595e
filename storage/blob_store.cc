#include "storage/blob_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <sys/file.h>
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;

absl::Status CheckDigest(const Digest& digest) {
  if (IsSha256(digest.sha256) && digest.size_bytes >= 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_FIELD",
                   "a digest needs 64 lower-case hexadecimal characters and a size");
}

absl::Status BlobNotFound(const Digest& digest) {
  return MakeError(absl::StatusCode::kNotFound, "BLOB_NOT_FOUND",
                   absl::StrCat("blob ", digest.sha256, " is not stored"), {{"sha256", digest.sha256}});
}

absl::Status Mismatch(absl::StatusCode code, const Digest& expected, const Digest& actual) {
  return MakeError(code, "DIGEST_MISMATCH",
                   absl::StrCat("blob ", expected.sha256, " of ", expected.size_bytes, " bytes is in fact ",
                                actual.sha256, " of ", actual.size_bytes, " bytes"),
                   {{"sha256", expected.sha256}});
}

std::string StagingDir(const std::string& dir) { return dir + "/staging"; }
std::string QuarantineDir(const std::string& dir) { return dir + "/quarantine"; }

std::string PartialPath(const std::string& dir, const Digest& digest, absl::string_view upload) {
  return absl::StrCat(StagingDir(dir), "/partial-", digest.sha256, upload.empty() ? "" : "-", upload);
}

absl::Status CheckUpload(const Digest& digest, absl::string_view upload) {
  RETURN_IF_ERROR(CheckDigest(digest));
  if (upload.empty() || IsUploadId(upload)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_FIELD",
                   "an upload id has 1 to 64 letters, digits or hyphens");
}

// What was set aside is kept this many times as long as blobs that nobody needs.
constexpr int kQuarantineAges = 7;

// Waits for an advisory lock that ends with the descriptor, whatever happens to the process.
absl::Status Lock(int fd, int operation) {
  while (::flock(fd, operation) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "cannot lock");
  }
  return absl::OkStatus();
}

const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// Does what creates a file in `folder`. Anybody may remove folders of a store that is in use (`rm -rf
// DIR/*`): one that is missing is made again.
template <typename Step>
std::invoke_result_t<Step> InFolder(const std::string& folder, const Step& step) {
  auto result = step();
  if (!absl::IsNotFound(StatusOf(result))) return result;
  RETURN_IF_ERROR(MakeDirs(folder));
  return step();
}

// Opens and locks a file. Another process may replace or delete it between the two steps: then the lock is on
// a file that is no longer there, and the next try sees what is.
absl::StatusOr<FileDescriptor> OpenLocked(const std::string& path, int flags, int operation) {
  while (true) {
    FileDescriptor fd(::open(path.c_str(), flags | O_CLOEXEC, 0666));
    if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot open ", path));
    RETURN_IF_ERROR(Lock(fd.get(), operation));
    struct stat locked {
    }, named{};
    if (::fstat(fd.get(), &locked) != 0) return ErrnoError(errno, "cannot stat");
    if (::stat(path.c_str(), &named) == 0 && named.st_ino == locked.st_ino) return fd;
  }
}

// Held shared while a blob is published and exclusively while one is deleted, by any process: the collector
// must not delete a blob that somebody has just written again.
absl::StatusOr<FileDescriptor> LockPublication(const std::string& dir, int operation) {
  return InFolder(dir, [&] { return OpenLocked(absl::StrCat(dir, "/lock"), O_RDWR | O_CREAT, operation); });
}

// Makes a complete staging file visible. Replacing an equal blob is harmless, and repairs a damaged one.
absl::Status Publish(const std::string& dir, const FileDescriptor& fd, const std::string& staging,
                     const std::string& path) {
  if (::fchmod(fd.get(), 0444) != 0) return ErrnoError(errno, "cannot set the mode");
  RETURN_IF_ERROR(SyncFile(fd.get()));
  ASSIGN_OR_RETURN(const FileDescriptor lock, LockPublication(dir, LOCK_SH));
  ::futimens(fd.get(), nullptr);
  const absl::Status moved =
      InFolder(fs::path(path).parent_path(), [&] { return RenameDurably(staging, path); });
  if (!absl::IsNotFound(moved)) return moved;
  return MakeError(absl::StatusCode::kUnavailable, "STAGING_LOST",
                   absl::StrCat(staging, " was removed while it was written"));
}

// When the file was last written, or asked for: Contains touches the time of access only, because the time of
// modification tells whether the bytes may have changed.
absl::Time LastUse(const struct stat& info) {
  return std::max(absl::TimeFromTimespec(info.st_mtim), absl::TimeFromTimespec(info.st_atim));
}

// Deletes `path` when it is old enough and nobody writes it. Returns the bytes freed.
int64_t RemoveStale(const std::string& path, absl::Time oldest_kept) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd.ok() || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(fd.get(), &info) != 0) return 0;
  if (LastUse(info) > oldest_kept || ::unlink(path.c_str()) != 0) return 0;
  return info.st_size;
}

absl::StatusOr<std::vector<std::string>> FilesBelow(const std::string& dir) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(dir, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    if (entry->is_regular_file(gone)) paths.push_back(entry->path());
  }
  // A folder that somebody has removed holds nothing.
  if (error && error != std::errc::no_such_file_or_directory)
    return ErrnoError(error.value(), absl::StrCat("cannot list ", dir));
  return paths;
}

}  // namespace

class LocalBlobWriter : public BlobWriter {
 public:
  LocalBlobWriter(const LocalBlobStore& store, FileDescriptor fd, std::string staging)
      : store_(store), fd_(std::move(fd)), staging_(std::move(staging)) {}
  ~LocalBlobWriter() override {
    if (!committed_) ::unlink(staging_.c_str());
  }

  absl::Status Append(absl::string_view bytes) override {
    if (committed_) return absl::FailedPreconditionError("the blob is committed");
    hash_.Update(bytes);
    if (failed_.ok()) failed_ = store_.WriteMakingRoom(fd_.get(), written_bytes_, bytes);
    written_bytes_ += static_cast<int64_t>(bytes.size());
    return failed_;
  }

  absl::StatusOr<Digest> Commit() override {
    RETURN_IF_ERROR(failed_);
    if (committed_) return absl::FailedPreconditionError("the blob is committed");
    const Digest digest = hash_.Finish();
    failed_ = Publish(store_.dir(), fd_, staging_, store_.PathOf(digest));
    RETURN_IF_ERROR(failed_);
    committed_ = true;
    return digest;
  }

 private:
  const LocalBlobStore& store_;
  const FileDescriptor fd_;
  const std::string staging_;
  Sha256 hash_;
  int64_t written_bytes_ = 0;
  absl::Status failed_;
  bool committed_ = false;
};

absl::StatusOr<Digest> BlobStore::Put(absl::string_view bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobWriter> writer, Create());
  RETURN_IF_ERROR(writer->Append(bytes));
  return writer->Commit();
}

bool IsUploadId(absl::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-';
  });
}

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(std::string dir, DamagedBlobs damaged) {
  for (const std::string& folder : {dir + "/sha256", StagingDir(dir), QuarantineDir(dir)}) {
    RETURN_IF_ERROR(MakeDirs(folder));
  }
  return std::unique_ptr<LocalBlobStore>(new LocalBlobStore(std::move(dir), damaged));
}

absl::StatusOr<std::unique_ptr<BlobWriter>> LocalBlobStore::Create() {
  std::string staging;
  ASSIGN_OR_RETURN(FileDescriptor fd, InFolder(StagingDir(dir_), [&]() -> absl::StatusOr<FileDescriptor> {
                     staging = absl::StrCat(StagingDir(dir_), "/new-XXXXXX");
                     FileDescriptor created(::mkostemp(staging.data(), O_CLOEXEC));
                     if (!created.ok()) return ErrnoError(errno, "cannot create a blob");
                     return created;
                   }));
  const absl::Status locked = Lock(fd.get(), LOCK_EX);
  if (locked.ok()) return std::make_unique<LocalBlobWriter>(*this, std::move(fd), std::move(staging));
  ::unlink(staging.c_str());
  return locked;
}

absl::StatusOr<MappedFile> LocalBlobStore::Open(const Digest& digest) {
  return OpenVerified(digest, /*trust_earlier_reads=*/true);
}

absl::Status LocalBlobStore::Verify(const Digest& digest) {
  return OpenVerified(digest, /*trust_earlier_reads=*/false).status();
}

absl::StatusOr<MappedFile> LocalBlobStore::OpenVerified(const Digest& digest, bool trust_earlier_reads) {
  RETURN_IF_ERROR(CheckDigest(digest));
  const std::string path = PathOf(digest);
  // Taken before the file is opened: one that is replaced in between is verified again next time.
  const absl::StatusOr<FileStamp> stamp = StampOf(path);
  if (absl::IsNotFound(stamp.status())) return BlobNotFound(digest);
  RETURN_IF_ERROR(stamp.status());
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return BlobNotFound(digest);
  RETURN_IF_ERROR(file.status());
  if (trust_earlier_reads && stamp->size_bytes == digest.size_bytes) {
    absl::MutexLock lock(&mutex_);
    const auto found = verified_.find(digest.sha256);
    if (found != verified_.end() && found->second == *stamp) return file;
  }
  const Digest actual = DigestOf(file->bytes());
  if (actual != digest) {
    // A caller that is wrong about the size says nothing about the file.
    if (actual.sha256 != digest.sha256) Remove(digest, *stamp);
    return Mismatch(absl::StatusCode::kDataLoss, digest, actual);
  }
  absl::MutexLock lock(&mutex_);
  verified_[digest.sha256] = *stamp;
  return file;
}

absl::StatusOr<LocalBlobStore::FileStamp> LocalBlobStore::StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, absl::StrCat("cannot stat ", path));
  return FileStamp{info.st_ino, info.st_size, absl::TimeFromTimespec(info.st_mtim)};
}

void LocalBlobStore::Remove(const Digest& digest, const FileStamp& stamp) {
  const absl::StatusOr<FileDescriptor> lock = LockPublication(dir_, LOCK_EX);
  const std::string path = PathOf(digest);
  const absl::StatusOr<FileStamp> now = StampOf(path);
  if (!lock.ok() || !now.ok() || !(*now == stamp)) return;
  if (damaged_ == DamagedBlobs::kDelete) {
    ::unlink(path.c_str());
    return;
  }
  std::string place;
  std::error_code ignored;
  for (int n = 1; place.empty() || fs::exists(place, ignored); ++n) {
    place = absl::StrCat(QuarantineDir(dir_), "/", digest.sha256, ".damaged-", n);
  }
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // its age counts from here
  const bool moved = InFolder(QuarantineDir(dir_), [&] { return RenameDurably(path, place); }).ok();
  Log(LogLevel::kError, moved ? "a damaged blob was set aside" : "a damaged blob cannot be set aside",
      {{"sha256", digest.sha256}, {"file", moved ? place : path}});
}

absl::StatusOr<Digest> LocalBlobStore::Ensure(absl::string_view bytes) {
  const Digest digest = DigestOf(bytes);
  if (Open(digest).ok()) return digest;
  return Put(bytes);
}

absl::Status LocalBlobStore::WriteMakingRoom(int fd, int64_t offset, absl::string_view bytes) const {
  while (true) {
    const absl::Status written = WriteAll(fd, bytes);
    const bool full = absl::IsResourceExhausted(written);
    if (!full || !make_room_ || !make_room_()) return written;
    if (::ftruncate(fd, offset) != 0 || ::lseek(fd, offset, SEEK_SET) < 0) {
      return ErrnoError(errno, "cannot undo a write");
    }
  }
}

int64_t LocalBlobStore::quarantined() const {
  std::error_code error;
  const fs::directory_iterator files(QuarantineDir(dir_), error);
  return error ? 0 : std::distance(begin(files), end(files));
}

absl::StatusOr<bool> LocalBlobStore::Contains(const Digest& digest) {
  RETURN_IF_ERROR(CheckDigest(digest));
  const std::string path = PathOf(digest);
  // Touched under the lock: a true answer and a deletion cannot cross.
  ASSIGN_OR_RETURN(const FileDescriptor lock, LockPublication(dir_, LOCK_SH));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return ErrnoError(errno, absl::StrCat("cannot stat ", path));
  }
  const timespec times[] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  ::utimensat(AT_FDCWD, path.c_str(), times, 0);
  return info.st_size == digest.size_bytes;
}

std::string LocalBlobStore::PathOf(const Digest& digest) const {
  const std::string& name = digest.sha256;
  return absl::StrCat(dir_, "/sha256/", name.substr(0, 2), "/", name.substr(2, 2), "/", name);
}

absl::StatusOr<int64_t> LocalBlobStore::PartialSize(const Digest& digest, absl::string_view upload) const {
  RETURN_IF_ERROR(CheckUpload(digest, upload));
  struct stat info {};
  const std::string path = PartialPath(dir_, digest, upload);
  // What is longer than the blob was never a part of it.
  if (::stat(path.c_str(), &info) == 0 && info.st_size > digest.size_bytes) ::unlink(path.c_str());
  if (::stat(path.c_str(), &info) == 0) return int64_t{info.st_size};
  if (errno == ENOENT) return int64_t{0};
  return ErrnoError(errno, "cannot stat a partial blob");
}

absl::Status LocalBlobStore::AppendPartial(const Digest& digest, int64_t offset, absl::string_view bytes,
                                           absl::string_view upload) {
  RETURN_IF_ERROR(CheckUpload(digest, upload));
  ASSIGN_OR_RETURN(const FileDescriptor fd, InFolder(StagingDir(dir_), [&] {
                     return OpenLocked(PartialPath(dir_, digest, upload), O_WRONLY | O_CREAT | O_APPEND,
                                       LOCK_EX);
                   }));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot stat a partial blob");
  const int64_t size = info.st_size;
  if (offset != size || static_cast<int64_t>(bytes.size()) > digest.size_bytes - size) {
    return absl::OutOfRangeError(absl::StrCat(bytes.size(), " bytes at offset ", offset, ": blob ",
                                              digest.sha256, " has ", size, " of ", digest.size_bytes,
                                              " bytes"));
  }
  const absl::Status written = WriteMakingRoom(fd.get(), size, bytes);
  // What was not acknowledged must not stay: the sender goes on from the old size.
  if (!written.ok() && ::ftruncate(fd.get(), size) != 0) return ErrnoError(errno, "cannot undo a write");
  return written;
}

absl::Status LocalBlobStore::CommitPartial(const Digest& digest, absl::string_view upload) {
  RETURN_IF_ERROR(CheckUpload(digest, upload));
  const std::string staging = PartialPath(dir_, digest, upload);
  const absl::StatusOr<FileDescriptor> fd = OpenLocked(staging, O_RDWR, LOCK_EX);
  if (absl::IsNotFound(fd.status())) {
    ASSIGN_OR_RETURN(const bool stored, Contains(digest));
    return stored ? absl::OkStatus() : BlobNotFound(digest);
  }
  RETURN_IF_ERROR(fd.status());
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(staging));
  const Digest actual = DigestOf(file.bytes());
  if (actual == digest) return Publish(dir_, *fd, staging, PathOf(digest));
  ::unlink(staging.c_str());
  return Mismatch(absl::StatusCode::kInvalidArgument, digest, actual);
}

absl::Status LocalBlobStore::DropPartial(const Digest& digest, absl::string_view upload) {
  RETURN_IF_ERROR(CheckUpload(digest, upload));
  if (::unlink(PartialPath(dir_, digest, upload).c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, "cannot delete a partial blob");
}

absl::StatusOr<int64_t> LocalBlobStore::CollectGarbage(
    const std::function<bool(const std::string& sha256)>& is_live, absl::Duration min_age, absl::Time now) {
  int64_t freed = 0;
  ASSIGN_OR_RETURN(const std::vector<std::string> staged, FilesBelow(StagingDir(dir_)));
  for (const std::string& path : staged) freed += RemoveStale(path, now - min_age);
  ASSIGN_OR_RETURN(const std::vector<std::string> set_aside, FilesBelow(QuarantineDir(dir_)));
  for (const std::string& path : set_aside) freed += RemoveStale(path, now - kQuarantineAges * min_age);
  ASSIGN_OR_RETURN(const std::vector<std::string> blobs, FilesBelow(absl::StrCat(dir_, "/sha256")));
  for (const std::string& path : blobs) {
    const std::string name = fs::path(path).filename();
    if (!IsSha256(name) || is_live(name)) continue;
    ASSIGN_OR_RETURN(const FileDescriptor lock, LockPublication(dir_, LOCK_EX));
    freed += RemoveStale(path, now - min_age);
    absl::MutexLock forget(&mutex_);
    verified_.erase(name);
  }
  return freed;
}

}  // namespace quantmoe
