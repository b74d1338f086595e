#include "sources/checkpoint.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

using Json = nlohmann::json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr char kConfigFile[] = "config.json";

// What one weight file must give: all of its tensors, or those that the index names.
using WeightMap = std::map<std::string, std::optional<std::vector<std::string>>>;

absl::Status Invalid(absl::string_view what, std::map<std::string, std::string> metadata = {}) {
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID", what, std::move(metadata));
}

// The tree of the index; an error for a tensor named twice, of which a tree would keep the last.
absl::StatusOr<Json> ParseIndex(const std::string& text) {
  std::string parent, twice;
  absl::flat_hash_set<std::string> names;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event != Json::parse_event_t::key) return true;
    const std::string& key = parsed.get_ref<const std::string&>();
    if (depth == 1) parent = key;
    if (depth == 2 && parent == "weight_map" && !names.insert(key).second) twice = key;
    return true;
  };
  absl::StatusOr<Json> parsed = ParseJson(text, {}, watch);
  if (!parsed.ok()) {
    return Invalid(absl::StrCat(kIndexFile, " ", parsed.status().message()), {{"file", kIndexFile}});
  }
  Json& json = *parsed;
  if (!twice.empty()) {
    const std::string name = absl::Utf8SafeCHexEscape(twice);
    return Invalid(absl::StrCat(kIndexFile, ": tensor ", name, " occurs twice"),
                   {{"file", kIndexFile}, {"tensor", name}});
  }
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return Invalid(absl::StrCat(kIndexFile, " has no weight_map"), {{"file", kIndexFile}});
  }
  return json;
}

// A path of the index as one way to write it, without "." and doubled slashes; empty when it could lead out
// of the model.
std::string PlainPath(absl::string_view path) {
  std::vector<absl::string_view> parts;
  if (absl::StartsWith(path, "/")) return "";
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") return "";
    if (!part.empty() && part != ".") parts.push_back(part);
  }
  return absl::StrJoin(parts, "/");
}

absl::StatusOr<WeightMap> ReadWeightMap(const std::string& index_text) {
  ASSIGN_OR_RETURN(const Json index, ParseIndex(index_text));
  WeightMap weights;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const auto invalid = [&tensor = tensor](absl::string_view what) {
      const std::string name = absl::Utf8SafeCHexEscape(tensor);
      return Invalid(absl::StrCat(kIndexFile, ": tensor ", name, " ", what),
                     {{"file", kIndexFile}, {"tensor", name}});
    };
    if (!file.is_string()) return invalid("names no file");
    const auto& text = file.get_ref<const std::string&>();
    const std::string path = PlainPath(text);
    if (path.empty()) {
      return invalid(absl::StrCat("is in \"", absl::Utf8SafeCHexEscape(text.substr(0, 200)),
                                  "\", which is no file of the model"));
    }
    auto& names = weights[path];
    if (!names.has_value()) names.emplace();
    names->push_back(tensor);
  }
  if (weights.empty()) return Invalid(absl::StrCat(kIndexFile, " names no tensors"), {{"file", kIndexFile}});
  return weights;
}

struct WeightFile {
  std::string header_bytes;
  SafetensorsHeader header;
};

absl::StatusOr<WeightFile> ReadHeader(ModelDirectory& directory, const ModelFile& file) {
  ASSIGN_OR_RETURN(const MappedFile first8,
                   directory.Read(file.name, 0, std::min<int64_t>(8, file.size_bytes)));
  ASSIGN_OR_RETURN(const int64_t needed, SafetensorsHeaderBytes(first8.bytes(), file.size_bytes, file.name));
  ASSIGN_OR_RETURN(const MappedFile prefix, directory.Read(file.name, 0, needed));
  WeightFile read{std::string(prefix.bytes()), {}};
  ASSIGN_OR_RETURN(read.header, ParseSafetensorsHeader(read.header_bytes, file.size_bytes, file.name));
  return read;
}

// The tensors of the header that are wanted, and those that are wanted but not there. What the index does not
// name is not part of the model.
struct Selection {
  std::vector<TensorInfo> tensors;
  std::vector<std::string> absent;
};

Selection Select(const std::optional<std::vector<std::string>>& wanted, SafetensorsHeader header) {
  if (!wanted.has_value()) return {std::move(header.tensors), {}};
  absl::flat_hash_map<std::string, TensorInfo> present;
  for (TensorInfo& tensor : header.tensors) present[tensor.name] = std::move(tensor);
  Selection selection;
  for (const std::string& name : *wanted) {
    const auto found = present.find(name);
    if (found == present.end()) {
      selection.absent.push_back(name);
    } else {
      selection.tensors.push_back(std::move(found->second));
    }
  }
  return selection;
}

absl::Status AbsentFrom(const std::string& file, const std::string& tensor) {
  return Invalid(
      absl::StrCat(kIndexFile, ": tensor ", absl::Utf8SafeCHexEscape(tensor), " is missing from ", file),
      {{"file", file}, {"tensor", tensor}});
}

// One field of a fingerprint; the length keeps neighbours apart.
void AddField(Sha256& hash, absl::string_view field) {
  hash.Update(absl::StrCat(field.size(), ":"));
  hash.Update(field);
}

const ModelFile* FindFile(const std::vector<ModelFile>& files, absl::string_view name) {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const auto& file) { return file.name == name; });
  return found == files.end() ? nullptr : &*found;
}

// Adds the files of every folder that the index names.
absl::Status AddFolders(ModelDirectory& directory, const WeightMap& weights, std::vector<ModelFile>& files) {
  std::set<std::string> folders;
  for (const auto& [path, wanted] : weights) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) folders.insert(path.substr(0, slash));
  }
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(std::vector<ModelFile> listed, directory.ListFolder(folder));
    std::move(listed.begin(), listed.end(), std::back_inserter(files));
  }
  return absl::OkStatus();
}

}  // namespace

struct Checkpoint::Opening {
  const std::vector<ModelFile> files;
  Damage* const damage;  // null: there may be none
  Sha256 content = {}, copy = {};
};

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(std::shared_ptr<ModelDirectory> directory) {
  return OpenAll(std::move(directory), /*damage=*/nullptr);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::OpenDamaged(std::shared_ptr<ModelDirectory> directory,
                                                                    Damage& damage) {
  return OpenAll(std::move(directory), &damage);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::OpenAll(std::shared_ptr<ModelDirectory> directory,
                                                                Damage* damage) {
  ASSIGN_OR_RETURN(std::vector<ModelFile> files, directory->List());
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint);
  checkpoint->directory_ = directory;
  std::string config, index;
  if (FindFile(files, kConfigFile) != nullptr) {
    ASSIGN_OR_RETURN(config, directory->ReadAll(kConfigFile));
  }
  WeightMap weights;
  if (FindFile(files, kSingleFile) != nullptr) {
    weights[kSingleFile] = std::nullopt;
    checkpoint->listing_file_ = kSingleFile;
  } else if (FindFile(files, kIndexFile) != nullptr) {
    ASSIGN_OR_RETURN(index, directory->ReadAll(kIndexFile));
    ASSIGN_OR_RETURN(weights, ReadWeightMap(index));
    checkpoint->listing_file_ = kIndexFile;
    RETURN_IF_ERROR(AddFolders(*directory, weights, files));
  } else {
    return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                     absl::StrCat("the model has neither ", kSingleFile, " nor ", kIndexFile));
  }
  Opening opening{std::move(files), damage};
  for (Sha256* hash : {&opening.content, &opening.copy}) {
    AddField(*hash, config);
    AddField(*hash, index);
  }
  for (const auto& [name, wanted] : weights) {
    const absl::Status status = checkpoint->AddFile(opening, name, wanted);
    if (status.ok()) continue;
    if (damage == nullptr || !absl::IsInvalidArgument(status)) return status;
    damage->problems.push_back(std::string(status.message()));
    damage->unlisted = damage->unlisted || !wanted.has_value();
    if (wanted.has_value()) damage->lost.insert(wanted->begin(), wanted->end());
  }
  checkpoint->header_digest_ = opening.content.Finish().sha256;
  checkpoint->fingerprint_ = opening.copy.Finish().sha256;
  return checkpoint;
}

absl::Status Checkpoint::AddFile(Opening& opening, const std::string& name,
                                 const std::optional<std::vector<std::string>>& wanted) {
  const ModelFile* file = FindFile(opening.files, name);
  if (file == nullptr) {
    return Invalid(absl::StrCat(kIndexFile, " names ", absl::Utf8SafeCHexEscape(name), ", which is missing"),
                   {{"file", name}});
  }
  ASSIGN_OR_RETURN(WeightFile read, ReadHeader(*directory_, *file));
  for (Sha256* hash : {&opening.content, &opening.copy}) {
    AddField(*hash, name);
    AddField(*hash, absl::StrCat(file->size_bytes));
    AddField(*hash, read.header_bytes);
  }
  AddField(opening.copy, file->version);
  const int64_t data_offset = read.header.data_offset;
  Selection selection = Select(wanted, std::move(read.header));
  for (const std::string& absent : selection.absent) {
    const absl::Status status = AbsentFrom(name, absent);
    if (opening.damage == nullptr) return status;
    opening.damage->problems.push_back(std::string(status.message()));
    opening.damage->lost.insert(absent);
  }
  for (TensorInfo& tensor : selection.tensors) {
    total_bytes_ += tensor.size_bytes();
    std::string key = tensor.name;
    tensors_.emplace(std::move(key), Location{name, data_offset, std::move(tensor)});
  }
  return absl::OkStatus();
}

const Checkpoint::Location* Checkpoint::Find(absl::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

absl::StatusOr<MappedFile> Checkpoint::Read(absl::string_view name) const {
  const Location* location = Find(name);
  if (location == nullptr) {
    return Invalid(absl::StrCat("tensor ", name, " is missing"), {{"tensor", std::string(name)}});
  }
  return ReadRange(name, 0, location->info.size_bytes());
}

absl::StatusOr<MappedFile> Checkpoint::ReadRange(absl::string_view name, int64_t offset,
                                                 int64_t length) const {
  const Location* location = Find(name);
  if (location == nullptr || offset < 0 || length < 0 || offset + length > location->info.size_bytes()) {
    return absl::InternalError(absl::StrCat("tensor ", name, " has no range [", offset, ", +", length, ")"));
  }
  return directory_->Read(location->file, location->data_offset + location->info.begin + offset, length);
}

absl::Status Checkpoint::Prefetch(const std::vector<std::string>& names) const {
  std::map<std::string, std::vector<ByteRange>> ranges;
  for (const std::string& name : names) {
    if (const Location* location = Find(name)) {
      ranges[location->file].push_back(
          {location->data_offset + location->info.begin, location->info.size_bytes()});
    }
  }
  for (auto& [file, wanted] : ranges) RETURN_IF_ERROR(directory_->Prefetch(file, std::move(wanted)));
  return absl::OkStatus();
}

}  // namespace quantmoe
