#include "local/flag_values.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/job/presets.h"

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

// A number with one of the units; 0 when it is none.
int64_t ParseBytes(const std::string& text) {
  const size_t digits = text.find_first_not_of("0123456789.");
  double number = 0;
  if (digits == std::string::npos || !absl::SimpleAtod(text.substr(0, digits), &number)) return 0;
  return static_cast<int64_t>(number * static_cast<double>(UnitBytes(text.substr(digits))));
}

absl::Status ReadBudget(const PlanFlags& flags, Budget& budget) {
  const int given = int{!flags.budget.empty()} + int{!flags.bytes.empty()} + int{flags.stored_bits != 0} +
                    int{!flags.rank_bytes.empty()};
  if (given > 1 || (given == 0 && flags.preset.empty())) {
    return InvalidFields({{"--bits", "give exactly one of --bits, --bytes, --stored-bits and --rank-bytes"}});
  }
  if (!flags.bytes.empty()) {
    budget.max_bytes = ParseBytes(flags.bytes);
    if (*budget.max_bytes <= 0)
      return InvalidFields({{"--bytes", absl::StrCat("\"", flags.bytes, "\" is no size (2GiB)")}});
  }
  if (flags.stored_bits != 0) budget.stored_bits = flags.stored_bits;
  if (!flags.rank_bytes.empty()) {
    budget.rank_bytes = {ParseBytes(flags.rank_bytes), flags.ranks};
    if (budget.rank_bytes->max_bytes <= 0) {
      return InvalidFields({{"--rank-bytes", absl::StrCat("\"", flags.rank_bytes, "\" is no size (2GiB)")}});
    }
  }
  if (flags.budget.empty()) return absl::OkStatus();
  double bits = 0;
  if (absl::SimpleAtod(flags.budget, &bits) && bits > 0) {
    budget.average_bits = bits;
  } else if (const int64_t bytes = ParseBytes(flags.budget); bytes > 0) {
    budget.max_bytes = bytes;
  } else {
    return InvalidFields(
        {{"--bits", absl::StrCat("\"", flags.budget, "\" is neither average bits (3.0) nor bytes (2GiB)")}});
  }
  return absl::OkStatus();
}

absl::Status ReadRules(const std::vector<std::string>& texts, const char* flag, bool floor, bool ceiling,
                       std::vector<WidthRule>& rules) {
  ASSIGN_OR_RETURN(const auto pairs, ParsePairs(texts, flag));
  for (const auto& [pattern, text] : pairs) {
    int bits = 0;
    if (!absl::SimpleAtoi(text, &bits)) {
      return InvalidFields({{flag, absl::StrCat("\"", text, "\" is no number of bits")}});
    }
    rules.push_back({pattern, floor ? bits : 0, ceiling ? bits : 0});
  }
  return absl::OkStatus();
}

}  // namespace

void AddPlanFlags(CLI::App& command, PlanFlags& flags) {
  CLI::Option* bits = command.add_option("--bits", flags.budget, "budget as average width, such as 3.0");
  command.add_option("--bytes", flags.bytes, "budget as size of the weight files, such as 400MB or 2GiB")
      ->excludes(bits);
  // Both in one flag; not in the help.
  command.add_option("--budget", flags.budget)->group("")->excludes(bits);
  command.add_option("--stored-bits", flags.stored_bits,
                     "budget in bits of codes, scales and zeros of a weight");
  command.add_option("--rank-bytes", flags.rank_bytes, "budget in bytes on the fullest of --ranks ranks");
  command.add_option("--ranks", flags.ranks, "expert-parallel ranks that --rank-bytes is for");
  command.add_option("--heuristic", flags.heuristic,
                     "what spends the budget, docs/heuristics.md (default: optimal)");
  command.add_option("--preset", flags.preset, "a configuration that QuantMoE-Bench published");
  command.add_option("--param", flags.params, "parameter of the heuristic, name=value");
  command.add_option("--profile", flags.profile, "what the target loader can run");
  command.add_option("--pin", flags.pins, "PATTERN=BITS: width of linears by kind, class or glob over names");
  command.add_option("--min-bits", flags.floors, "PATTERN=BITS: their least width");
  command.add_option("--max-bits", flags.ceilings, "PATTERN=BITS: their largest width");
  command.add_option("--protect", flags.protected_patterns, "PATTERN: the largest width");
}

absl::Status ReadPlanFlags(const PlanFlags& flags, JobSpec& spec) {
  RETURN_IF_ERROR(ReadBudget(flags, spec.budget));
  ASSIGN_OR_RETURN(spec.heuristic_params, ParsePairs(flags.params, "--param"));
  spec.heuristic = flags.heuristic;
  if (!flags.profile.empty()) spec.runtime_profile = flags.profile;
  RETURN_IF_ERROR(ReadRules(flags.pins, "--pin", true, true, spec.rules));
  RETURN_IF_ERROR(ReadRules(flags.floors, "--min-bits", true, false, spec.rules));
  RETURN_IF_ERROR(ReadRules(flags.ceilings, "--max-bits", false, true, spec.rules));
  for (const std::string& pattern : flags.protected_patterns) spec.rules.push_back({pattern, 0, 0, true});
  if (!flags.preset.empty()) return InvalidFields(ApplyPreset(flags.preset, spec));
  if (spec.heuristic.empty()) spec.heuristic = "optimal";
  return absl::OkStatus();
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
