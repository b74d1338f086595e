// A compiled search pattern of a tokenizer.json: a regular expression in the dialect of Oniguruma, or a
// literal. Built on PCRE2 with Unicode properties; `oniguruma.h` translates, `newer_unicode.h` brings the
// code points of Unicode 15 and 16. Searches are bounded: an expression that explodes on a text is an error,
// not a hang.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quantmoe {

// While it lives, the searches of this thread may together use so much time of the processor.
class SearchBudget {
 public:
  explicit SearchBudget(absl::Duration time);
  ~SearchBudget();
  SearchBudget(const SearchBudget&) = delete;
  SearchBudget& operator=(const SearchBudget&) = delete;

 private:
  const absl::Duration previous_;
};

class Pattern {
 public:
  // INVALID_ARGUMENT or UNIMPLEMENTED when there is no equal expression for PCRE2; the message has the
  // reason.
  static absl::StatusOr<Pattern> Regex(std::string_view expression);
  static Pattern Literal(std::string_view text);

  // Calls `found` for every match, left to right, without overlap. `text` is valid UTF-8. Safe for concurrent
  // use. RESOURCE_EXHAUSTED, with the matches found so far, when the expression needs too many steps.
  absl::Status ForEachMatch(std::string_view text,
                            absl::FunctionRef<void(size_t begin, size_t end)> found) const;

  // RESOURCE_EXHAUSTED also when the result would be more than 64 times as long as `text`, plus 1 MiB.
  absl::StatusOr<std::string> ReplaceAll(std::string_view text, std::string_view replacement) const;

 private:
  struct Compiled;

  absl::Status ForEachRegexMatch(std::string_view text, absl::FunctionRef<void(size_t, size_t)> found) const;

  std::string literal_;  // used when `compiled_` is null
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace quantmoe
