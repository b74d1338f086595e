#include "base/json.h"

#include <string>

#include "absl/strings/str_cat.h"

#include "base/text.h"

namespace quantmoe {
namespace {

constexpr size_t kLongestMessage = 200;

absl::Status Beyond(absl::string_view what, size_t limit) {
  return absl::InvalidArgumentError(absl::StrCat("is JSON with ", what, " than ", limit));
}

// The end of the string that begins behind `i`, at its closing quote.
size_t SkipString(absl::string_view text, size_t i) {
  for (++i; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\') ++i;
  }
  return i;
}

// The library's messages begin with a number of its own in brackets.
std::string PlainMessage(absl::string_view message) {
  const size_t end = message.find("] ");
  return CutText(end == absl::string_view::npos ? message : message.substr(end + 2), kLongestMessage);
}

template <typename Json>
absl::StatusOr<Json> Parse(absl::string_view text, const JsonLimits& limits,
                           const typename Json::parser_callback_t& watch) {
  if (absl::Status status = CheckJsonLimits(text, limits); !status.ok()) return status;
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("is not valid JSON: ", PlainMessage(error.what())));
  }
}

}  // namespace

absl::Status CheckJsonLimits(absl::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) return Beyond("more bytes", limits.bytes);
  size_t depth = 0, values = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        i = SkipString(text, i);
        break;
      case '[':
      case '{':
        if (++depth > limits.depth) return Beyond("deeper nesting", limits.depth);
        [[fallthrough]];
      case ',':
        if (++values > limits.values) return Beyond("more values", limits.values);
        break;
      case ']':
      case '}':
        if (depth > 0) --depth;
        break;
      default:
        break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const JsonLimits& limits,
                                         const nlohmann::json::parser_callback_t& watch) {
  return Parse<nlohmann::json>(text, limits, watch);
}

absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(absl::string_view text, const JsonLimits& limits) {
  return Parse<nlohmann::ordered_json>(text, limits, nullptr);
}

nlohmann::json OwnJson(absl::string_view text) { return nlohmann::json::parse(text.begin(), text.end()); }

nlohmann::ordered_json OwnOrderedJson(absl::string_view text) {
  return nlohmann::ordered_json::parse(text.begin(), text.end());
}

}  // namespace quantmoe
