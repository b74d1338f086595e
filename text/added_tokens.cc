#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace quantmoe {
namespace {

unsigned char FirstByte(std::string_view pattern) { return static_cast<unsigned char>(pattern.front()); }

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  size_t before = begin;
  size_t behind = end;
  return (begin == 0 || !IsWordCharacter(PreviousCodePoint(text, before))) &&
         (end == text.size() || !IsWordCharacter(NextCodePoint(text, behind)));
}

size_t SkipSpaceLeft(std::string_view text, size_t position) {
  for (size_t i = position; i > 0 && IsWhiteSpace(PreviousCodePoint(text, i));) position = i;
  return position;
}

size_t SkipSpaceRight(std::string_view text, size_t position) {
  for (size_t i = position; i < text.size() && IsWhiteSpace(NextCodePoint(text, i));) position = i;
  return position;
}

}  // namespace

void AddedTokenFinder::Add(const AddedToken& token, std::string pattern) {
  if (!pattern.empty()) entries_.push_back({token, std::move(pattern)});
}

void AddedTokenFinder::Finish() {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.pattern < b.pattern; });
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    auto& [begin, end] = by_first_byte_[FirstByte(entries_[i].pattern)];
    if (end == 0) begin = i;
    end = i + 1;
  }
}

// Narrows the entries byte by byte to those that begin as the text does; the last that ends on the way is the
// longest match.
const AddedTokenFinder::Entry* AddedTokenFinder::MatchAt(std::string_view text, size_t position) const {
  const auto [first, last] = by_first_byte_[static_cast<unsigned char>(text[position])];
  auto begin = entries_.begin() + first;
  auto end = entries_.begin() + last;
  const Entry* longest = nullptr;
  for (size_t depth = 1; begin != end; ++depth) {
    if (begin->pattern.size() == depth) longest = &*begin;
    if (position + depth == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[position + depth]);
    const auto byte_of = [depth](const Entry& entry) {  // a shorter entry comes first
      return entry.pattern.size() > depth ? static_cast<unsigned char>(entry.pattern[depth]) : -1;
    };
    begin = std::partition_point(begin, end, [&](const Entry& entry) { return byte_of(entry) < byte; });
    end = std::partition_point(begin, end, [&](const Entry& entry) { return byte_of(entry) <= byte; });
  }
  return longest;
}

void AddedTokenFinder::Split(std::string_view text, Sink sink) const {
  size_t covered = 0;
  for (size_t i = 0; !entries_.empty() && i < text.size();) {
    const Entry* found = MatchAt(text, i);
    if (found == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + found->pattern.size();
    i = end;
    if (found->token.single_word && !StandsAlone(text, begin, end)) continue;
    if (found->token.lstrip) begin = std::max(SkipSpaceLeft(text, begin), covered);
    if (found->token.rstrip) end = SkipSpaceRight(text, end);
    if (covered < begin) sink(text.substr(covered, begin - covered), covered, -1);
    sink(text.substr(begin, end - begin), begin, found->token.id);
    covered = end;
  }
  if (covered < text.size()) sink(text.substr(covered), covered, -1);
}

}  // namespace quantmoe
