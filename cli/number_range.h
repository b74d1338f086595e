// Ranges of numbers as checks of flags that no option of a job describes. Unlike CLI::Range it refuses NaN.
#pragma once

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "plan/options/option.h"
#include "plan/options/value_checks.h"

namespace quantmoe::cli {

inline CLI::Validator Within(const Range& range) {
  const auto check = [range](const std::string& text) {
    double value = 0;
    const bool within = absl::SimpleAtod(text, &value) && value <= range.most &&
                        (range.open ? value > range.least : value >= range.least);
    return within ? std::string() : absl::StrCat("must be ", RangeText(range, /*whole=*/false));
  };
  return CLI::Validator(check, "");
}

}  // namespace quantmoe::cli
