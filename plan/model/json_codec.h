// Shared pieces of the JSON documents of this folder. Objects are written with sorted keys and without
// spaces, and numbers round-trip exactly, so equal values have equal text.
#pragma once

#include <exception>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "base/exception_text.h"
#include "base/json.h"
#include "nlohmann/json.hpp"
#include "plan/model/linears.h"

namespace quantmoe {

nlohmann::json LinearJson(const Linear& linear);
Linear LinearFromJson(const nlohmann::json& json);  // throws std::exception, for DecodeJson

// Runs `decode` on the parsed text. What it throws becomes INVALID_ARGUMENT "<what>: ...".
template <typename T, typename Decode>
absl::StatusOr<T> DecodeJson(absl::string_view text, absl::string_view what, Decode decode) {
  const absl::StatusOr<nlohmann::json> json = ParseJson(text);
  if (!json.ok()) return absl::InvalidArgumentError(absl::StrCat(what, ": ", json.status().message()));
  try {
    return decode(*json);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", ExceptionText(error)));
  }
}

}  // namespace quantmoe
