#include "text/text_cuts.h"

#include "text/unicode.h"

namespace quantmoe {
namespace {

bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

}  // namespace

void CutPieces(std::string_view text, const TextCuts& cuts, absl::FunctionRef<void(std::string_view)> sink) {
  if (text.size() <= cuts.longest_run || cuts.longest_text == 0) return sink(text);
  size_t begin = 0;
  size_t run = 0;
  size_t in_text = 0;
  bool space = false;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const bool now = IsPythonSpace(NextCodePoint(text, i));
    run = now == space ? run + 1 : 1;
    space = now;
    const bool full = in_text == cuts.longest_text;
    if (full) in_text = 0;
    if (full || run > cuts.longest_run) {
      sink(text.substr(begin, at - begin));
      begin = at;
      run = 1;
    }
    ++in_text;
  }
  sink(text.substr(begin));
}

}  // namespace quantmoe
