// The one way in for JSON that is not ours: text is parsed only if its size, its depth and the number of its
// values are bounded, because trees are copied, compared, written and destroyed by recursion, and a value of
// two bytes takes sixteen and more in memory. Thread-safe.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

// The defaults hold the largest published documents (a tokenizer.json of 40 MB with 3 million values) several
// times.
struct JsonLimits {
  size_t bytes = size_t{256} << 20;
  size_t depth = 100;
  size_t values = 16'000'000;
};

// What a model's configuration, a manifest, a plan's spec or an answer of a service may be.
inline constexpr JsonLimits kSmallJson{.bytes = size_t{16} << 20, .depth = 100, .values = 1'000'000};

// INVALID_ARGUMENT that says which limit `text` is beyond. Looks at brackets, commas and strings only.
absl::Status CheckJsonLimits(absl::string_view text, const JsonLimits& limits = {});

// INVALID_ARGUMENT "is not valid JSON: ..." or of CheckJsonLimits; the caller names the file. `watch` sees
// every event of the parser, as nlohmann::json::parse documents it.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const JsonLimits& limits = {},
                                         const nlohmann::json::parser_callback_t& watch = nullptr);
// The same, with the members of objects in their order.
absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(absl::string_view text,
                                                        const JsonLimits& limits = {});

// The tree of text that this process has written itself.
nlohmann::json OwnJson(absl::string_view text);
nlohmann::ordered_json OwnOrderedJson(absl::string_view text);

}  // namespace quantmoe
