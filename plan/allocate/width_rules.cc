#include "plan/allocate/width_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "plan/allocate/choice_groups.h"

namespace quantmoe {
namespace {

constexpr size_t kMaxPatternBytes = 200;
constexpr int kMaxBits = 8;

std::string Field(size_t rule) { return absl::StrCat("spec.rules[", rule, "]"); }

// Greedy match with one point to come back to: linear in both lengths for a single `*`.
bool MatchesGlob(absl::string_view pattern, absl::string_view text) {
  size_t p = 0, t = 0, star = absl::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool IsDense(LinearKind kind) { return kind >= LinearKind::kDenseGate && kind <= LinearKind::kDenseDown; }

// The narrowest interval that the rules leave to one linear, and which rules made it so narrow.
struct Interval {
  int low = 0, high = kMaxBits;
  size_t low_rule = 0, high_rule = 0;

  void Narrow(const WidthRule& rule, size_t index, int largest) {
    const int rule_low = rule.protect ? largest : rule.min_bits;
    const int rule_high = rule.protect || rule.max_bits == 0 ? kMaxBits : rule.max_bits;
    if (rule_low > low) {
      low = rule_low;
      low_rule = index;
    }
    if (rule_high < high) {
      high = rule_high;
      high_rule = index;
    }
  }
};

FieldViolation NoWidth(const Linear& linear, const Interval& interval, const std::vector<WidthRule>& rules,
                       const std::vector<int>& widths) {
  if (interval.low > interval.high) {
    return {Field(interval.low_rule),
            absl::StrCat("\"", rules[interval.low_rule].pattern, "\" asks at least ", interval.low,
                         " bits for ", linear.name, ", but rules[", interval.high_rule, "] \"",
                         rules[interval.high_rule].pattern, "\" allows at most ", interval.high)};
  }
  const size_t rule = interval.low > 0 ? interval.low_rule : interval.high_rule;
  return {Field(rule), absl::StrCat("\"", rules[rule].pattern, "\" leaves no width to ", linear.name,
                                    "; candidates are ", absl::StrJoin(widths, ", "))};
}

// The widths of each linear alone. Violations: each pattern without a match, and the first linear without a
// width.
AllowedWidths NarrowEach(const std::vector<Linear>& linears, const std::vector<WidthRule>& rules,
                         const std::vector<int>& widths, std::vector<FieldViolation>& violations) {
  AllowedWidths allowed;
  std::vector<bool> matched(rules.size());
  bool stuck = false;
  for (const Linear& linear : linears) {
    Interval interval;
    for (size_t i = 0; i < rules.size(); ++i) {
      if (!MatchesPattern(rules[i].pattern, linear)) continue;
      matched[i] = true;
      interval.Narrow(rules[i], i, widths.back());
    }
    std::vector<int>& own = allowed.emplace_back();
    for (int width : widths) {
      if (width >= interval.low && width <= interval.high) own.push_back(width);
    }
    if (own.empty() && !stuck) violations.push_back(NoWidth(linear, interval, rules, widths));
    stuck = stuck || own.empty();
  }
  for (size_t i = 0; i < rules.size(); ++i) {
    if (matched[i] || rules[i].pattern == kSuperExpertsPattern) continue;
    violations.push_back(
        {Field(i) + ".pattern", absl::StrCat("\"", rules[i].pattern, "\" matches no linear")});
  }
  return allowed;
}

}  // namespace

bool MatchesPattern(absl::string_view pattern, const Linear& linear) {
  if (pattern == LinearKindName(linear.kind)) return true;
  if (pattern == "attention") return IsAttention(linear.kind);
  if (pattern == "experts") return IsExpert(linear.kind);
  if (pattern == "dense") return IsDense(linear.kind);
  if (pattern == "shared") return IsShared(linear.kind) && !IsDense(linear.kind);
  return MatchesGlob(pattern, linear.name);
}

std::vector<FieldViolation> CheckRules(const std::vector<WidthRule>& rules) {
  std::vector<FieldViolation> violations;
  const auto violate = [&violations](size_t rule, const char* member, std::string text) {
    violations.push_back({absl::StrCat(Field(rule), member), std::move(text)});
  };
  for (size_t i = 0; i < rules.size(); ++i) {
    const WidthRule& rule = rules[i];
    if (rule.pattern.empty()) violate(i, ".pattern", "is missing");
    if (rule.pattern.size() > kMaxPatternBytes) {
      violate(i, ".pattern", absl::StrCat("has more than ", kMaxPatternBytes, " characters"));
    }
    const auto check_bits = [&](const char* member, int bits) {
      if (bits < 0 || bits > kMaxBits) violate(i, member, absl::StrCat("is ", bits, ", must be in [0, 8]"));
    };
    check_bits(".min_bits", rule.min_bits);
    check_bits(".max_bits", rule.max_bits);
    if (rule.pattern == kSuperExpertsPattern && !rule.protect)
      violate(i, "", "names super-experts, which can only be protected");
    const bool bounded = rule.min_bits != 0 || rule.max_bits != 0;
    if (bounded == rule.protect) violate(i, "", "needs either protect, or min_bits or max_bits");
    if (rule.max_bits > 0 && rule.min_bits > rule.max_bits) {
      violate(i, "", absl::StrCat("has min_bits ", rule.min_bits, " above max_bits ", rule.max_bits));
    }
  }
  return violations;
}

absl::StatusOr<AllowedWidths> ApplyRules(const std::vector<Linear>& linears,
                                         const std::vector<WidthRule>& rules, const std::vector<int>& widths,
                                         const RuntimeProfile& profile) {
  if (rules.empty()) return AllowedWidths(linears.size(), widths);
  std::vector<FieldViolation> violations;
  AllowedWidths allowed = NarrowEach(linears, rules, widths, violations);
  if (!violations.empty()) return InvalidFields(std::move(violations));
  for (const std::vector<size_t>& group : GroupLinears(linears, profile, Grain::kLinear)) {
    std::vector<int> common = allowed[group.front()];
    for (size_t member : group) {
      std::vector<int> both;
      std::set_intersection(common.begin(), common.end(), allowed[member].begin(), allowed[member].end(),
                            std::back_inserter(both));
      if (both.empty()) {
        return InvalidFields(
            {{"spec.rules", absl::StrCat("the profile ", profile.name, " gives ", linears[group.front()].name,
                                         " and ", linears[member].name,
                                         " one width, but the rules leave them none in "
                                         "common")}});
      }
      common = std::move(both);
    }
    for (size_t member : group) allowed[member] = common;
  }
  return allowed;
}

}  // namespace quantmoe
