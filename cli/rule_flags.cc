#include "cli/rule_flags.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "cli/value_text.h"

namespace quantmoe::cli {
namespace {

// A rule of "PATTERN=BITS", with what `bound` makes of the bits.
template <typename Bound>
void ReadBounds(const TypedFlags& flags, const char* flag, Bound bound, std::vector<WidthRule>& rules,
                std::vector<FieldViolation>& violations) {
  for (const std::string& text : flags.All(flag)) {
    const auto pair = SplitPair(text);
    int bits = 0;
    if (!pair) {
      violations.push_back({flag, NoPair(text)});
    } else if (!absl::SimpleAtoi(pair->second, &bits)) {
      violations.push_back({flag, absl::StrCat("'", pair->second, "' is no number of bits")});
    } else {
      bound(rules.emplace_back(WidthRule{.pattern = pair->first}), bits);
    }
  }
}

}  // namespace

const std::vector<OptionInfo>& RuleFlags() {
  static const auto& flags = *new std::vector<OptionInfo>{
      {.name = "rules",
       .flag = "--pin",
       .group = HelpGroup::kPlan,
       .help = "Width of the linears that match a kind, a class or a glob over names; repeatable",
       .value = "PATTERN=BITS"},
      {.name = "rules",
       .flag = "--min-bits",
       .group = HelpGroup::kPlan,
       .help = "Their least width; repeatable",
       .value = "PATTERN=BITS"},
      {.name = "rules",
       .flag = "--max-bits",
       .group = HelpGroup::kPlan,
       .help = "Their largest width; repeatable",
       .value = "PATTERN=BITS"},
      {.name = "rules",
       .flag = "--protect",
       .group = HelpGroup::kPlan,
       .help = "Give them the largest width; super-experts are what calibration finds; repeatable",
       .value = "PATTERN"},
  };
  return flags;
}

std::vector<WidthRule> ReadRules(const TypedFlags& flags, std::vector<FieldViolation>& violations) {
  std::vector<WidthRule> rules;
  const auto pin = [](WidthRule& rule, int bits) { rule.min_bits = rule.max_bits = bits; };
  ReadBounds(flags, "--pin", pin, rules, violations);
  ReadBounds(
      flags, "--min-bits", [](WidthRule& rule, int bits) { rule.min_bits = bits; }, rules, violations);
  ReadBounds(
      flags, "--max-bits", [](WidthRule& rule, int bits) { rule.max_bits = bits; }, rules, violations);
  for (const std::string& pattern : flags.All("--protect")) rules.push_back({pattern, 0, 0, true});
  return rules;
}

}  // namespace quantmoe::cli
