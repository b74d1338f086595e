#include "sources/model_directory.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "sources/hub_directory.h"
#include "sources/object_store_directory.h"
#include "storage/durable_file.h"
#include "storage/lfs_pointer.h"

namespace quantmoe {
namespace {

class LocalModelDirectory : public ModelDirectory {
 public:
  explicit LocalModelDirectory(ModelUri uri) : uri_(std::move(uri)), path_(uri_.path) {}

  const ModelUri& uri() const override { return uri_; }

  absl::StatusOr<std::vector<ModelFile>> List() override { return ListBelow(""); }

  absl::StatusOr<std::vector<ModelFile>> ListFolder(const std::string& folder) override {
    RETURN_IF_ERROR(CheckFileName(folder));
    struct stat info {};
    if (::stat(absl::StrCat(path_, "/", folder).c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
      return std::vector<ModelFile>();
    return ListBelow(folder + "/");
  }

  absl::StatusOr<MappedFile> Read(const std::string& name, int64_t offset, int64_t length) override {
    RETURN_IF_ERROR(CheckFileName(name));
    absl::StatusOr<MappedFile> mapped = MappedFile::OpenRange(absl::StrCat(path_, "/", name), offset, length);
    if (absl::IsNotFound(mapped.status())) return FileNotFound(name);
    return mapped;
  }

 private:
  // `below` is empty, or a folder and a slash.
  absl::StatusOr<std::vector<ModelFile>> ListBelow(const std::string& below) const {
    const std::string path = absl::StrCat(path_, "/", below);
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
    if (dir == nullptr) return ErrnoError(errno, absl::StrCat("cannot list ", path));
    std::vector<ModelFile> files;
    while (const dirent* entry = ::readdir(dir.get())) {
      struct stat info {};
      const std::string name = below + entry->d_name;
      if (ValidUtf8(name) != name) continue;  // no checkpoint can name it: its documents are JSON
      if (::stat(absl::StrCat(path_, "/", name).c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
      const int64_t mtime = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
      files.push_back({name, info.st_size, absl::StrCat(mtime)});
    }
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return files;
  }

  const ModelUri uri_;
  const std::string path_;
};

}  // namespace

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

absl::StatusOr<std::unique_ptr<ModelDirectory>> ModelDirectory::Open(const ModelUri& uri,
                                                                     const HubOptions& hub) {
  if (uri.scheme == ModelUri::Scheme::kHub) return OpenHubDirectory(uri, hub);
  if (uri.scheme != ModelUri::Scheme::kFile) return OpenObjectStoreDirectory(uri);
  struct stat info {};
  if (::stat(uri.path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                     absl::StrCat(uri.ToString(), " does not exist or is no directory"));
  }
  return std::make_unique<LocalModelDirectory>(uri);
}

}  // namespace quantmoe
