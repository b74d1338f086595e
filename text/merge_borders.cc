#include "text/merge_borders.h"

#include "text/unicode.h"

namespace quantmoe {

void MergeBorders::AddMerges(const std::vector<std::pair<std::string, std::string>>& merges) {
  for (const auto& [left, right] : merges) {
    if (left.empty() || right.empty()) continue;
    size_t end = left.size();
    size_t begin = 0;
    const char32_t last = PreviousCodePoint(left, end);
    const char32_t first = NextCodePoint(right, begin);
    if (last < kAscii && first < kAscii) {
      ascii_[last * kAscii + first] = true;
    } else {
      others_.insert(Key(last, first));
    }
  }
}

size_t MergeBorders::NextBorder(std::string_view text, size_t begin) const {
  size_t i = begin;
  char32_t left = NextCodePoint(text, i);
  while (i < text.size()) {
    const size_t border = i;
    const char32_t right = NextCodePoint(text, i);
    if (known_[right] && !MayJoin(left, right)) return border;
    left = right;
  }
  return text.size();
}

}  // namespace quantmoe
