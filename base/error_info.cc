#include "base/error_info.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

#include "base/json.h"
#include "base/text.h"

namespace quantmoe {
namespace {

constexpr char kPayloadUrl[] = "quantmoe/error_info";
constexpr size_t kMaxViolations = 100;
// Of them, those that the message of the status repeats.
constexpr size_t kMaxTold = 20;

}  // namespace

absl::Status WithErrorInfo(absl::Status status, const ErrorInfo& info) {
  nlohmann::json json = {{"reason", info.reason}, {"metadata", info.metadata}};
  for (const FieldViolation& violation : info.violations) {
    json["violations"].push_back({violation.field, violation.description});
  }
  status.SetPayload(kPayloadUrl,
                    absl::Cord(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return status;
}

absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                       std::map<std::string, std::string> metadata) {
  return WithErrorInfo(absl::Status(code, ValidUtf8(message)),
                       {std::string(reason), std::move(metadata), {}});
}

absl::Status InvalidFields(std::vector<FieldViolation> violations) {
  if (violations.empty()) return absl::OkStatus();
  std::string message;
  for (size_t i = 0; i < violations.size() && i < kMaxTold; ++i) {
    absl::StrAppend(&message, i == 0 ? "" : "; ", violations[i].field, ": ", violations[i].description);
  }
  if (violations.size() > kMaxTold) {
    absl::StrAppend(&message, "; and ", violations.size() - kMaxTold, " more");
  }
  if (violations.size() > kMaxViolations) violations.resize(kMaxViolations);
  return WithErrorInfo(absl::InvalidArgumentError(ValidUtf8(message)),
                       {"INVALID_FIELD", {}, std::move(violations)});
}

ErrorInfo GetErrorInfo(const absl::Status& status) {
  ErrorInfo info;
  if (auto payload = status.GetPayload(kPayloadUrl); payload.has_value()) {
    const auto json = ParseJson(std::string(*payload));
    if (json.ok() && json->is_object()) {
      info.reason = json->value("reason", "");
      info.metadata = json->value("metadata", std::map<std::string, std::string>{});
      for (const auto& violation : json->value("violations", nlohmann::json::array())) {
        info.violations.push_back({violation.at(0), violation.at(1)});
      }
    }
  }
  if (info.reason.empty()) info.reason = absl::StatusCodeToString(status.code());
  return info;
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), ValidUtf8(absl::StrCat(context, ": ", status.message())));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace quantmoe
