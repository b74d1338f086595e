// Expressions of a tokenizer.json on a text: the first line is the expression, the rest the text. Matches lie
// in the text, in order, whatever the two are, after bounded work.
#include <algorithm>
#include <string>

#include "base/text.h"
#include "tests/fuzz/fuzz_input.h"
#include "text/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(bytes.find('\n'), bytes.size());
  const std::string expression = ValidUtf8({bytes.data(), end});
  const std::string text = ValidUtf8({bytes.data() + end, bytes.size() - end});
  const SearchBudget budget(absl::Seconds(1));
  const absl::StatusOr<Pattern> pattern = Pattern::Regex(expression);
  if (!pattern.ok()) return 0;
  size_t last = 0;
  (void)pattern->ForEachMatch(text, [&](size_t first, size_t behind) {
    Require(last <= first && first <= behind && behind <= text.size(), "matches lie in the text, in order");
    last = behind;
  });
  if (const auto replaced = pattern->ReplaceAll(text, "\xe2\x96\x81"); replaced.ok())
    Require(ValidUtf8(*replaced) == *replaced, "what is replaced splits no character");
  return 0;
}
