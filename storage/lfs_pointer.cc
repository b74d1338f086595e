#include "storage/lfs_pointer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

constexpr int64_t kPointerBelowBytes = 1024;
// The second is what the first versions of git-lfs wrote.
constexpr absl::string_view kFirstLines[] = {"version https://git-lfs.github.com/spec/",
                                             "version https://hawser.github.com/spec/"};

}  // namespace

bool IsLfsPointer(absl::string_view file) {
  if (static_cast<int64_t>(file.size()) >= kPointerBelowBytes) return false;
  for (const absl::string_view line : kFirstLines) {
    if (absl::StartsWith(file, line)) return true;
  }
  return false;
}

bool MayBeLfsPointer(absl::string_view first8, int64_t file_size) {
  return file_size < kPointerBelowBytes && absl::StartsWith(first8, kFirstLines[0].substr(0, 8));
}

absl::Status LfsPointerError(const std::string& file) {
  return MakeError(
      absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
      absl::StrCat(file,
                   ": is a Git LFS pointer, not the file itself; run `git lfs pull` in the clone of "
                   "the model"),
      {{"file", file}});
}

}  // namespace quantmoe
