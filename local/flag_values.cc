#include "local/flag_values.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

int64_t UnitBytes(const std::string& unit) {
  static const std::map<std::string, int64_t> kUnits = {{"B", 1},
                                                        {"kB", 1000},
                                                        {"MB", 1000000},
                                                        {"GB", 1000000000},
                                                        {"KiB", int64_t{1} << 10},
                                                        {"MiB", int64_t{1} << 20},
                                                        {"GiB", int64_t{1} << 30}};
  const auto found = kUnits.find(unit);
  return found == kUnits.end() ? 0 : found->second;
}

}  // namespace

void AddBudgetFlags(CLI::App& command, BudgetFlags& flags) {
  command
      .add_option("--budget", flags.budget, "average bits (3.0) or bytes of the weight files (400MB, 2GiB)")
      ->required();
}

absl::StatusOr<Budget> ParseBudget(const BudgetFlags& flags) {
  const size_t digits = flags.budget.find_first_not_of("0123456789.");
  const std::string unit = digits == std::string::npos ? "" : flags.budget.substr(digits);
  double number = 0;
  const bool valid = absl::SimpleAtod(flags.budget.substr(0, digits), &number) && number > 0;
  Budget budget;
  if (valid && unit.empty()) budget.average_bits = number;
  if (valid && UnitBytes(unit) > 0)
    budget.max_bytes = static_cast<int64_t>(number * static_cast<double>(UnitBytes(unit)));
  if (!budget.average_bits.has_value() && !budget.max_bytes.has_value()) {
    return InvalidFields({{"--budget", absl::StrCat("\"", flags.budget,
                                                    "\" is neither average bits (3.0) nor bytes (2GiB)")}});
  }
  return budget;
}

absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::vector<std::string>& pairs,
                                                              const std::string& flag) {
  std::map<std::string, std::string> parsed;
  for (const std::string& pair : pairs) {
    const std::vector<std::string> sides = absl::StrSplit(pair, absl::MaxSplits('=', 1));
    if (sides.size() != 2) return InvalidFields({{flag, absl::StrCat("\"", pair, "\" is not NAME=VALUE")}});
    parsed[sides[0]] = sides[1];
  }
  return parsed;
}

}  // namespace quantmoe
