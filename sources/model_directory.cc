#include "sources/model_directory.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/lfs_pointer.h"

namespace quantmoe {

std::vector<ByteRange> CoalesceRanges(std::vector<ByteRange> ranges, int64_t gap, int64_t most) {
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset < b.offset; });
  std::vector<ByteRange> joined;
  for (const ByteRange& range : ranges) {
    const int64_t end = range.offset + range.length;
    if (!joined.empty()) {
      ByteRange& last = joined.back();
      const int64_t last_end = last.offset + last.length;
      const int64_t both = std::max(last_end, end) - last.offset;
      if (range.offset - last_end <= gap && (both <= most || end <= last_end)) {
        last.length = both;
        continue;
      }
    }
    joined.push_back(range);
  }
  return joined;
}

absl::Status ModelDirectory::Prefetch(const std::string&, std::vector<ByteRange>) { return absl::OkStatus(); }

absl::Status ModelDirectory::CheckFileName(absl::string_view name) {
  bool plain = !absl::StrContains(name, '\\') && !absl::StrContains(name, '\0');
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    plain = plain && !part.empty() && part != "." && part != "..";
  }
  if (plain) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                   absl::StrCat("\"", absl::Utf8SafeCHexEscape(name.substr(0, 200)),
                                "\" is no plain path below the model"));
}

absl::Status ModelDirectory::FileNotFound(absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, "MODEL_FILE_NOT_FOUND",
                   absl::StrCat("the model has no file ", name), {{"file", std::string(name)}});
}

absl::StatusOr<std::string> ModelDirectory::ReadAll(const std::string& name, int64_t max_bytes) {
  RETURN_IF_ERROR(CheckFileName(name));
  const size_t slash = name.rfind('/');
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files,
                   slash == std::string::npos ? List() : ListFolder(name.substr(0, slash)));
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const auto& file) { return file.name == name; });
  if (found == files.end()) return FileNotFound(name);
  if (found->size_bytes > max_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "MODEL_FILE_TOO_LARGE",
                     absl::StrCat(name, " has ", found->size_bytes, " bytes; the limit is ", max_bytes));
  }
  ASSIGN_OR_RETURN(const MappedFile file, Read(name, 0, found->size_bytes));
  if (IsLfsPointer(file.bytes())) return LfsPointerError(name);
  return std::string(file.bytes());
}

}  // namespace quantmoe
