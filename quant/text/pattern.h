// A compiled search pattern of a tokenizer.json: a regular expression in the dialect of Oniguruma, or a
// literal. Built on PCRE2 with Unicode properties. `\s` and `\S` are rewritten to the White_Space property,
// because PCRE2 counts U+180E as space and Oniguruma does not; other classes follow PCRE2's Unicode version
// (14).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace quantmoe {

class Pattern {
 public:
  // INVALID_ARGUMENT when PCRE2 cannot compile the expression; the message has its reason.
  static absl::StatusOr<Pattern> Regex(std::string_view expression);
  static Pattern Literal(std::string_view text);

  // Calls `found` for every match, left to right, without overlap. `text` is valid UTF-8. Safe for concurrent
  // use.
  void ForEachMatch(std::string_view text, absl::FunctionRef<void(size_t begin, size_t end)> found) const;

  std::string ReplaceAll(std::string_view text, std::string_view replacement) const;

 private:
  struct Compiled;

  void ForEachRegexMatch(std::string_view text, absl::FunctionRef<void(size_t, size_t)> found) const;

  std::string literal_;  // used when `compiled_` is null
  std::shared_ptr<const Compiled> compiled_;
};

// The expression with `\s` and `\S` spelled out, inside and outside of brackets. For tests.
std::string SpellOutWhiteSpace(std::string_view expression);

}  // namespace quantmoe
