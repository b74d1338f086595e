#include "storage/file_digest.h"

#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"

#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr size_t kReadBytes = 2 << 20;

}  // namespace

absl::StatusOr<Digest> DigestOfFile(const std::string& path) {
  const auto unreadable = [&path] { return absl::NotFoundError(absl::StrCat("cannot read ", path)); };
  if (!CanBeReadAgain(path)) return unreadable();  // to open a FIFO would wait for its writer
  std::ifstream file(path, std::ios::binary);
  if (!file) return unreadable();
  Sha256 hash;
  std::vector<char> buffer(kReadBytes);
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hash.Update(absl::string_view(buffer.data(), static_cast<size_t>(file.gcount())));
  }
  if (file.bad() || !file.eof()) return unreadable();
  return hash.Finish();
}

}  // namespace quantmoe
