#include "base/byte_size.h"

#include <array>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace quantmoe {
namespace {

// The factor of a lower-case unit, or 0.
double UnitFactor(absl::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  constexpr absl::string_view kPrefixes = "kmgtp";
  const size_t power = kPrefixes.find(unit.front());
  if (power == absl::string_view::npos) return 0;
  unit.remove_prefix(1);
  if (unit == "ib" || unit == "i") return std::pow(1024.0, static_cast<double>(power + 1));
  if (unit.empty() || unit == "b") return std::pow(1000.0, static_cast<double>(power + 1));
  return 0;
}

}  // namespace

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(absl::StripAsciiWhitespace(text));
  const size_t digits = lower.find_first_not_of("0123456789.");
  const absl::string_view number = absl::string_view(lower).substr(0, digits);
  const absl::string_view unit =
      digits == std::string::npos ? "" : absl::StripAsciiWhitespace(absl::string_view(lower).substr(digits));
  int64_t whole = 0;
  if (unit.empty() && absl::SimpleAtoi(number, &whole)) return whole;
  double value = 0;
  const double factor = UnitFactor(unit);
  if (factor == 0 || !absl::SimpleAtod(number, &value)) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a size such as 10GiB or 1500000000"));
  }
  value = std::floor(value * factor);
  if (value >= static_cast<double>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is too large"));
  }
  return static_cast<int64_t>(value);
}

std::string FormatByteSize(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.5 would print as "1024", so it already takes the next unit.
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f %s", decimals, value, kUnits[unit]);
}

}  // namespace quantmoe
