#include "plan/options/value_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

// Whole numbers are not rounded to the six digits that a double gets.
std::string Number(double value, bool whole) {
  return whole ? absl::StrCat(static_cast<int64_t>(value)) : absl::StrCat(value);
}

std::string Demand(const Range& range, bool whole) {
  if (std::isinf(range.most)) {
    if (range.least == 0) return range.open ? "must be positive" : "must not be negative";
    return absl::StrCat("must be ", range.open ? "above " : "at least ", Number(range.least, whole));
  }
  return absl::StrCat("must be in ", range.open ? "(" : "[", Number(range.least, whole), ", ",
                      Number(range.most, whole), "]");
}

class Checker {
 public:
  template <HasOptions Spec>
  void Check(const Spec& spec, const std::string& path) {
    auto visit = [&](const OptionInfo& option, const auto& value) {
      CheckValue(option, value, absl::StrCat(path, ".", option.name));
    };
    VisitOptions(spec, visit);
  }
  std::vector<FieldViolation> Take() { return std::move(found_); }

 private:
  template <typename T>
  void CheckValue(const OptionInfo& option, const T& value, const std::string& path) {
    if constexpr (kIsOptional<T>) {
      if (value) CheckValue(option, *value, path);
    } else if constexpr (std::same_as<T, Digest>) {
      CheckDigest(option, value, path);
    } else if constexpr (HasOptions<T>) {
      Check(value, path);
    } else if constexpr (std::same_as<T, std::string>) {
      CheckChoice(option, value, path);
    } else if constexpr (std::is_arithmetic_v<T>) {
      CheckRange(option, static_cast<double>(value), std::integral<T>, path);
    }
  }

  template <HasOptions T>
  void CheckValue(const OptionInfo&, const std::vector<T>& values, const std::string& path) {
    for (size_t i = 0; i < values.size(); ++i) Check(values[i], absl::StrCat(path, "[", i, "]"));
  }

  void CheckDigest(const OptionInfo& option, const Digest& digest, const std::string& path) {
    if (digest.sha256.empty()) {
      if (option.required) found_.push_back({path, "is missing"});
      return;
    }
    if (!IsSha256(digest.sha256))
      found_.push_back({path + ".sha256", "is not 64 lower-case hexadecimal characters"});
    if (digest.size_bytes < 0)
      found_.push_back({path + ".size_bytes", absl::StrCat("is ", digest.size_bytes)});
  }

  void CheckChoice(const OptionInfo& option, const std::string& text, const std::string& path) {
    const auto& choices = option.choices;
    if (choices.empty() || std::find(choices.begin(), choices.end(), text) != choices.end()) return;
    found_.push_back({path, absl::StrCat("\"", text.substr(0, 80), "\" is unknown; known are ",
                                         absl::StrJoin(choices, ", "))});
  }

  // Sizes are exact as doubles where limits lie.
  void CheckRange(const OptionInfo& option, double value, bool whole, const std::string& path) {
    const Range& range = option.range;
    const bool above = range.open ? value > range.least : value >= range.least;
    if (above && value <= range.most) return;
    const bool bounded = !std::isinf(range.least) || !std::isinf(range.most);
    if (!bounded && !std::isnan(value)) return;
    found_.push_back({path, absl::StrCat("is ", Number(value, whole), ", ", Demand(range, whole))});
  }

  std::vector<FieldViolation> found_;
};

}  // namespace

std::vector<FieldViolation> CheckValues(const JobSpec& spec) {
  Checker checker;
  checker.Check(spec, "spec");
  return checker.Take();
}

std::string RangeText(const Range& range, bool whole) {
  const std::string least = Number(range.least, whole);
  if (std::isinf(range.least)) return "";
  if (std::isinf(range.most)) return absl::StrCat(range.open ? "above " : "at least ", least);
  return absl::StrCat(range.open ? "above " : "", least, " to ", Number(range.most, whole));
}

}  // namespace quantmoe
