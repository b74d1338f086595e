#include "sources/local_directory.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "storage/durable_file.h"

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

absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenLocalDirectory(const ModelUri& uri) {
  struct stat info {};
  if (::stat(uri.path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                     absl::StrCat(uri.ToString(), " does not exist or is no directory"));
  }
  return std::make_unique<LocalModelDirectory>(uri);
}

}  // namespace quantmoe
