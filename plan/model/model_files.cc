#include "plan/model/model_files.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

constexpr int64_t kLargestText = int64_t{4} << 20;

enum class Place { kWhole, kBegin, kWithin, kEnd };
struct CarriedFile {
  Place place;
  const char* name;         // in small letters; of a pattern the part that it is known by
  const char* folder = "";  // below the model
};

// Named files keep their case, the others are texts of people and come in any.
constexpr CarriedFile kCarried[] = {
    {Place::kWhole, "generation_config.json"},
    {Place::kWhole, "preprocessor_config.json"},
    {Place::kWhole, "processor_config.json"},
    {Place::kWhole, "tokenizer.json"},
    {Place::kWhole, "tokenizer_config.json"},
    {Place::kWhole, "special_tokens_map.json"},
    {Place::kWhole, "added_tokens.json"},
    {Place::kWhole, "vocab.json"},
    {Place::kWhole, "merges.txt"},
    {Place::kWhole, "tokenizer.model"},
    {Place::kWhole, "tiktoken.model"},
    {Place::kWhole, "chat_template.jinja"},
    {Place::kWhole, "chat_template.json"},
    {Place::kEnd, ".jinja", "additional_chat_templates"},
    {Place::kEnd, ".py"},
    {Place::kBegin, "license"},
    {Place::kBegin, "licence"},
    {Place::kBegin, "notice"},
    {Place::kBegin, "copying"},
    {Place::kBegin, "copyright"},
    {Place::kBegin, "third_party"},
    {Place::kBegin, "third-party"},
    {Place::kBegin, "thirdparty"},
    {Place::kWithin, "policy"},
};

// Those that are read whole.
constexpr std::array<absl::string_view, 5> kRead = {
    "tokenizer.json", "tokenizer_config.json", "tiktoken.model", "chat_template.jinja", "chat_template.json"};

// Larger files are no pointers of Git LFS.
constexpr int64_t kPointerBytes = 1024;

// Names that a manifest, a model card and every file system can hold.
bool IsPlain(absl::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("._-+() ", std::string(1, c));
  });
}

// Weights are never such a text, whatever they are called.
bool MayBeText(const ModelFile& file) {
  return file.size_bytes <= kLargestText && !absl::EndsWith(file.name, ".safetensors");
}

bool Matches(const CarriedFile& carried, const ModelFile& file, const std::string& name) {
  const std::string small = absl::AsciiStrToLower(name);
  switch (carried.place) {
    case Place::kWhole:
      return name == carried.name;
    case Place::kEnd:
      return absl::EndsWith(name, carried.name) && IsPlain(name);
    case Place::kBegin:
      return absl::StartsWith(small, carried.name) && IsPlain(name) && MayBeText(file);
    case Place::kWithin:
      return absl::StrContains(small, carried.name) && IsPlain(name) && MayBeText(file);
  }
  return false;
}

bool IsCarried(const std::string& folder, const ModelFile& file) {
  const std::string name = folder.empty() ? file.name : file.name.substr(folder.size() + 1);
  return std::any_of(std::begin(kCarried), std::end(kCarried), [&](const CarriedFile& carried) {
    return carried.folder == folder && Matches(carried, file, name);
  });
}

bool IsRead(absl::string_view name) { return std::find(kRead.begin(), kRead.end(), name) != kRead.end(); }

absl::Status Invalid(const std::string& file, absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID", message, {{"file", file}});
}

// A pointer of Git LFS is found by reading: nothing else tells it from a small file.
absl::Status CheckCarried(ModelDirectory& directory, const ModelFile& file) {
  if (file.size_bytes < kPointerBytes) return directory.ReadAll(file.name).status();
  if (!IsRead(file.name) || file.size_bytes <= ModelDirectory::kMaxSmallFileBytes) return absl::OkStatus();
  return Invalid(file.name, absl::StrCat(file.name, " has ", file.size_bytes, " bytes; the limit is ",
                                         ModelDirectory::kMaxSmallFileBytes));
}

}  // namespace

absl::StatusOr<std::vector<ModelFile>> ListCarriedFiles(ModelDirectory& directory) {
  std::set<std::string> folders;
  for (const CarriedFile& carried : kCarried) folders.insert(carried.folder);
  std::vector<ModelFile> files;
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(const std::vector<ModelFile> listed,
                     folder.empty() ? directory.List() : directory.ListFolder(folder));
    std::copy_if(listed.begin(), listed.end(), std::back_inserter(files),
                 [&](const ModelFile& file) { return IsCarried(folder, file); });
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

absl::StatusOr<std::string> FingerprintOfFiles(ModelDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, ListCarriedFiles(directory));
  Sha256 hash;
  for (const ModelFile& file : files) {
    for (const std::string& field : {file.name, absl::StrCat(file.size_bytes), file.version}) {
      hash.Update(absl::StrCat(field.size(), ":", field));
    }
  }
  return hash.Finish().sha256;
}

absl::StatusOr<std::string> ReadModelConfig(ModelDirectory& directory) {
  absl::StatusOr<std::string> config = directory.ReadAll("config.json");
  if (config.ok() || !absl::IsNotFound(config.status())) return config;
  return Invalid("config.json", "the model has no config.json");
}

std::vector<absl::Status> FindFileProblems(ModelDirectory& directory) {
  const absl::StatusOr<std::vector<ModelFile>> files = ListCarriedFiles(directory);
  if (!files.ok()) return {files.status()};
  std::vector<absl::Status> problems;
  for (const ModelFile& file : *files) {
    absl::Status status = CheckCarried(directory, file);
    if (!status.ok()) problems.push_back(std::move(status));
  }
  return problems;
}

}  // namespace quantmoe
