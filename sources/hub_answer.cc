#include "sources/hub_answer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/exception_text.h"
#include "base/json.h"
#include "base/json_number.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

using Json = nlohmann::json;

bool IsHex(absl::string_view text, size_t size) {
  return text.size() == size && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

absl::Status AppendFile(const Json& entry, std::vector<HubFile>& files) {
  try {
    HubFile file{entry.at("path").get<std::string>(), IntegerAt<int64_t>(entry, "size"),
                 entry.at("oid").get<std::string>(), false};
    if (const auto lfs = entry.find("lfs"); lfs != entry.end() && !lfs->is_null()) {
      file.large = true;
      file.oid = lfs->at("oid").get<std::string>();
      file.size_bytes = IntegerAt<int64_t>(*lfs, "size");
      const size_t prefix = absl::StartsWith(file.oid, "sha256:") ? 7 : 0;
      file.oid.erase(0, prefix);
    }
    if (IsHex(file.oid, file.large ? 64 : 40) && file.size_bytes >= 0) {
      files.push_back(std::move(file));
      return absl::OkStatus();
    }
    return HubProtocolError("file list",
                            absl::StrCat("bad size or oid of ", absl::Utf8SafeCHexEscape(file.path)));
  } catch (const std::exception& error) {
    return HubProtocolError("file list", ExceptionText(error));
  }
}

}  // namespace

absl::Status HubProtocolError(absl::string_view what, absl::string_view why) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "HUB_PROTOCOL", absl::StrCat(what, ": ", why));
}

absl::Status AppendHubFiles(absl::string_view page, std::vector<HubFile>& files) {
  const Json list = ParseJson(page, kSmallJson).value_or(nullptr);
  if (!list.is_array()) return HubProtocolError("file list", "is no JSON array");
  for (const Json& entry : list) {
    const auto type = entry.is_object() ? entry.find("type") : entry.end();
    if (!entry.is_object() || type == entry.end() || *type != "file") continue;
    RETURN_IF_ERROR(AppendFile(entry, files));
  }
  return absl::OkStatus();
}

std::optional<std::string> CommitOfAnswer(absl::string_view answer) {
  const Json json = ParseJson(answer, kSmallJson).value_or(nullptr);
  const auto sha = json.is_object() ? json.find("sha") : json.end();
  if (!json.is_object() || sha == json.end() || !sha->is_string() || !IsHex(sha->get<std::string>(), 40))
    return std::nullopt;
  return sha->get<std::string>();
}

std::string NextPage(absl::string_view link) {
  for (const absl::string_view item : absl::StrSplit(link, ',')) {
    const size_t open = item.find('<'), close = item.find('>');
    if (open == absl::string_view::npos || close == absl::string_view::npos || close < open) continue;
    if (!absl::StrContains(item.substr(close), "rel=\"next\"")) continue;
    return std::string(item.substr(open + 1, close - open - 1));
  }
  return "";
}

std::string StrongTag(absl::string_view tag) {
  if (absl::StartsWith(tag, "W/")) return "";
  absl::ConsumePrefix(&tag, "\"");
  absl::ConsumeSuffix(&tag, "\"");
  return std::string(tag);
}

std::optional<ContentRange> ParseContentRange(absl::string_view text) {
  ContentRange range;
  if (!absl::ConsumePrefix(&text, "bytes ")) return std::nullopt;
  const size_t dash = text.find('-'), slash = text.find('/');
  if (dash == absl::string_view::npos || slash == absl::string_view::npos || slash < dash)
    return std::nullopt;
  const bool numbers = absl::SimpleAtoi(text.substr(0, dash), &range.first) &&
                       absl::SimpleAtoi(text.substr(dash + 1, slash - dash - 1), &range.last) &&
                       absl::SimpleAtoi(text.substr(slash + 1), &range.total);
  return numbers ? std::optional(range) : std::nullopt;
}

std::string HubFilesToJson(const std::vector<HubFile>& files) {
  Json json = Json::array();
  for (const HubFile& file : files) json.push_back({file.path, file.size_bytes, file.oid, file.large});
  return json.dump();
}

std::optional<std::vector<HubFile>> HubFilesFromJson(absl::string_view text) {
  try {
    std::vector<HubFile> files;
    for (const Json& entry : ParseJson(text).value_or(Json::array())) {
      files.push_back({entry.at(0).get<std::string>(), IntegerOf<int64_t>(entry.at(1)),
                       entry.at(2).get<std::string>(), entry.at(3).get<bool>()});
    }
    return files;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace quantmoe
