// Sizes in bytes as people write and read them: "10GiB", "1.5 GB", "123456". CLI11 has a reader of sizes too,
// but it refuses fractions, and takes 010GiB for 8 GiB.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Bytes of a number with an optional unit: B, powers of 1024 (KiB, MiB, GiB, TiB) and of 1000 (kB, MB, GB,
// TB, or the prefix alone), in any case, with or without a blank. Fractions are rounded down.
// INVALID_ARGUMENT for anything else, for negative sizes and for sizes past int64.
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);

// Three significant digits and a binary unit: "512 B", "1.50 KiB", "10.0 GiB".
std::string FormatByteSize(int64_t bytes);

}  // namespace quantmoe
