#include "client/verify/artifact_check.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/status_macros.h"
#include "storage/file_digest.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

using Json = nlohmann::json;

absl::Status BadManifest(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(kManifestName, " is damaged: ", what));
}

// The digest in "abc...", {"sha256": "abc..."} or {"digest": {"sha256": "abc..."}}; empty when there is none.
std::string DigestIn(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return "";
  if (value.contains("sha256")) return DigestIn(value["sha256"]);
  return value.contains("digest") ? DigestIn(value["digest"]) : "";
}

std::string PathIn(const Json& value) {
  for (const char* key : {"path", "name"}) {
    if (value.is_object() && value.contains(key) && value[key].is_string())
      return value[key].get<std::string>();
  }
  return "";
}

absl::Status AddFile(const std::string& path, const std::string& sha256,
                     std::map<std::string, std::string>& files) {
  if (!IsSafeRelativePath(path)) return BadManifest(absl::StrCat("bad path '", path, "'"));
  if (!IsSha256(sha256)) return BadManifest(absl::StrCat("no SHA-256 for '", path, "'"));
  files[path] = sha256;
  return absl::OkStatus();
}

}  // namespace

bool IsSafeRelativePath(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.find('\\') != std::string::npos ||
      path.find('\0') != std::string::npos) {
    return false;
  }
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

absl::StatusOr<std::map<std::string, std::string>> ParseManifest(absl::string_view json) {
  const Json manifest = ParseJson(json).value_or(nullptr);
  if (!manifest.is_object() || !manifest.contains("files")) return BadManifest("no list of files");
  std::map<std::string, std::string> files;
  if (manifest["files"].is_array()) {
    for (const Json& file : manifest["files"]) RETURN_IF_ERROR(AddFile(PathIn(file), DigestIn(file), files));
  } else if (manifest["files"].is_object()) {
    for (const auto& [path, file] : manifest["files"].items())
      RETURN_IF_ERROR(AddFile(path, DigestIn(file), files));
  } else {
    return BadManifest("no list of files");
  }
  files.erase(kManifestName);
  return files;
}

absl::StatusOr<std::vector<FileCheck>> CheckArtifact(const std::string& directory) {
  const std::filesystem::path root = directory;
  const absl::StatusOr<std::string> text = ReadWholeFile((root / kManifestName).string(), kMaxDataBytes);
  if (absl::IsNotFound(text.status()))
    return absl::NotFoundError(absl::StrCat("there is no ", kManifestName, " in ", directory));
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const auto files, ParseManifest(*text));
  std::vector<FileCheck> checks;
  for (const auto& [path, sha256] : files) {
    const absl::StatusOr<Digest> digest = DigestOfFile((root / path).string());
    FileCheck check{path, FileCheck::Result::kOk};
    if (!digest.ok()) {
      check.result = FileCheck::Result::kMissing;
    } else if (digest->sha256 != sha256) {
      check.result = FileCheck::Result::kDamaged;
    }
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace quantmoe
