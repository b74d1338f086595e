#include "base/error_info.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

constexpr char kPayloadUrl[] = "quantmoe/error_info";

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
  return WithErrorInfo(absl::Status(code, message), {std::string(reason), std::move(metadata), {}});
}

absl::Status InvalidFields(std::vector<FieldViolation> violations) {
  if (violations.empty()) return absl::OkStatus();
  std::string message;
  for (const FieldViolation& violation : violations) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", violation.field, ": ", violation.description);
  }
  return WithErrorInfo(absl::InvalidArgumentError(message), {"INVALID_FIELD", {}, std::move(violations)});
}

ErrorInfo GetErrorInfo(const absl::Status& status) {
  ErrorInfo info;
  if (auto payload = status.GetPayload(kPayloadUrl); payload.has_value()) {
    const nlohmann::json json =
        nlohmann::json::parse(std::string(*payload), nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) {
      info.reason = json.value("reason", "");
      info.metadata = json.value("metadata", std::map<std::string, std::string>{});
      for (const auto& violation : json.value("violations", nlohmann::json::array())) {
        info.violations.push_back({violation.at(0), violation.at(1)});
      }
    }
  }
  if (info.reason.empty()) info.reason = absl::StatusCodeToString(status.code());
  return info;
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace quantmoe
