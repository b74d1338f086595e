#include "storage/whole_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <sys/stat.h>

#include "base/byte_size.h"
#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/durable_file.h"

namespace quantmoe {
namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr char kStandardInput[] = "-";
constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

FileDescriptor OpenToRead(const std::string& path) {
  return FileDescriptor(path == kStandardInput ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                               : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// 0 at the end, -1 with errno.
ssize_t ReadSome(const FileDescriptor& file, std::vector<char>& buffer) {
  ssize_t count = 0;
  do {
    count = ::read(file.get(), buffer.data(), buffer.size());
  } while (count < 0 && errno == EINTR);
  return count;
}

absl::Status Unreadable(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
}

absl::Status TooLarge(const std::string& path, bool piped, int64_t most) {
  return InvalidFields({{path, piped ? absl::StrCat(path, " is no regular file and gives more than ",
                                                    FormatByteSize(most), ", the most that is read of one")
                                     : absl::StrCat(path, " has more than ", FormatByteSize(most),
                                                    ", the most that is read")}});
}

}  // namespace

absl::Status ReadChunks(const std::string& path, int64_t most,
                        absl::FunctionRef<void(absl::string_view chunk)> take) {
  const FileDescriptor file = OpenToRead(path);
  struct stat facts = {};
  if (!file.ok() || ::fstat(file.get(), &facts) != 0) return Unreadable(path);
  const bool piped = !S_ISREG(facts.st_mode);
  if (piped) most = std::min(most, kMaxPipedBytes);
  if (!piped && facts.st_size > most) return TooLarge(path, piped, most);
  std::vector<char> buffer(kReadBytes);
  for (int64_t taken = 0;;) {
    const ssize_t count = ReadSome(file, buffer);
    if (count < 0) return Unreadable(path);
    if (count == 0) return absl::OkStatus();
    taken += count;
    if (taken > most) return TooLarge(path, piped, most);
    take({buffer.data(), static_cast<size_t>(count)});
  }
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t most) {
  std::string bytes;
  RETURN_IF_ERROR(
      ReadChunks(path, most, [&bytes](absl::string_view chunk) { absl::StrAppend(&bytes, chunk); }));
  return bytes;
}

absl::Status NameFlag(const std::string& flag, const absl::Status& error) {
  const std::vector<FieldViolation> found = GetErrorInfo(error).violations;
  if (!found.empty()) return InvalidFields({{flag, found.front().description}});
  if (absl::IsNotFound(error)) return InvalidFields({{flag, std::string(error.message())}});
  return Annotate(error, flag);
}

bool CanBeReadAgain(const std::string& path) {
  std::error_code ignored;
  return path != kStandardInput && std::filesystem::is_regular_file(path, ignored);
}

bool IsBlank(absl::string_view bytes) {
  absl::ConsumePrefix(&bytes, kByteOrderMark);
  return std::all_of(bytes.begin(), bytes.end(),
                     [](unsigned char byte) { return absl::ascii_isspace(byte); });
}

absl::Status BlankFile(const std::string& path) {
  return InvalidFields({{path, absl::StrCat(path, " is empty, or holds only white space")}});
}

}  // namespace quantmoe
