#include "storage/mapped_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"
#include "storage/mapped_reads.h"

namespace quantmoe {
namespace {

absl::StatusOr<FileDescriptor> OpenRegular(const std::string& path, int64_t* size) {
  // O_NONBLOCK: opening a FIFO must fail the check below, not wait for a writer.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.ok()) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) return ErrnoError(ENOENT, absl::StrCat(path, " is no plain file"));
  *size = info.st_size;
  return fd;
}

absl::StatusOr<MappedFile> Map(const FileDescriptor& fd, const std::string& path, int64_t offset,
                               int64_t length) {
  if (length == 0) return MappedFile();
  const int64_t slack = offset % ::sysconf(_SC_PAGESIZE);
  const size_t mapped = static_cast<size_t>(length + slack);
  void* address = ::mmap(nullptr, mapped, PROT_READ, MAP_SHARED, fd.get(), offset - slack);
  if (address == MAP_FAILED) return ErrnoError(errno, absl::StrCat("cannot map ", path));
  MappingGuard* const guard = GuardMapping(address, mapped, path);
  std::shared_ptr<const void> owner(address, [mapped, guard](void* start) {
    ForgetMapping(guard);
    ::munmap(start, mapped);
  });
  const absl::string_view view(static_cast<const char*>(address) + slack, static_cast<size_t>(length));
  return MappedFile(std::move(owner), view);
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  int64_t size = 0;
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenRegular(path, &size));
  return Map(fd, path, 0, size);
}

absl::StatusOr<MappedFile> MappedFile::OpenRange(const std::string& path, int64_t offset, int64_t length) {
  int64_t size = 0;
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenRegular(path, &size));
  if (offset < 0 || length < 0 || offset > size || length > size - offset) {
    return absl::OutOfRangeError(
        absl::StrCat(path, " has ", size, " bytes, not ", length, " at offset ", offset));
  }
  return Map(fd, path, offset, length);
}

MappedFile MappedFile::FromString(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  const absl::string_view view = *owner;
  return MappedFile(std::move(owner), view);
}

}  // namespace quantmoe
