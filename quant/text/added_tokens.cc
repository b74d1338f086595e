#include "quant/text/added_tokens.h"

#include <algorithm>
#include <tuple>

#include "quant/text/unicode.h"

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
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::make_tuple(FirstByte(a.pattern), b.pattern.size()) <
           std::make_tuple(FirstByte(b.pattern), a.pattern.size());
  });
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    auto& [begin, end] = by_first_byte_[FirstByte(entries_[i].pattern)];
    if (end == 0) begin = i;
    end = i + 1;
  }
}

const AddedTokenFinder::Entry* AddedTokenFinder::MatchAt(std::string_view text, size_t position) const {
  const auto [begin, end] = by_first_byte_[static_cast<unsigned char>(text[position])];
  for (uint32_t i = begin; i < end; ++i) {
    if (text.substr(position).starts_with(entries_[i].pattern)) return &entries_[i];
  }
  return nullptr;
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
