// Flags whose value is a size in bytes, in the one grammar of sizes (base/byte_size.h). Header only, as
// cli/model_source_flags.h is.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "base/byte_size.h"

namespace quantmoe {

// Turns "10GiB" into the number that the option takes.
inline CLI::Validator AsByteSize() {
  return CLI::Validator(
      [](std::string& text) {
        const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
        if (bytes.ok()) text = absl::StrCat(*bytes);
        return std::string(bytes.status().message());
      },
      "SIZE");
}

}  // namespace quantmoe
