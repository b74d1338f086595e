// YAML and JSON text as a small tree of which every node knows its place. What a file of settings never needs
// is refused: aliases, tags, several documents, repeated keys, and anything deep or large. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe::cli {

inline constexpr int64_t kMaxYamlBytes = int64_t{1} << 20;

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  int line = 1, column = 1;
  std::string text;                // of a scalar, without its quotes
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map
};

struct YamlEntry {
  YamlNode key;
  YamlNode value;
};

// INVALID_FIELD, also for more than kMaxYamlBytes, whose field is the place: "NAME:LINE:COLUMN"; columns
// count bytes.
absl::StatusOr<YamlNode> ParseYaml(absl::string_view text, absl::string_view name);

// That place.
std::string PlaceOf(absl::string_view name, const YamlNode& node);

}  // namespace quantmoe::cli
