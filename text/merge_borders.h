// Where a text may be cut in front of byte-pair encoding without changing a single id. Merging never joins
// two neighbours "...a" and "b..." unless some merge has a left token that ends in `a` and a right token that
// begins with `b`; where no merge does, the parts left and right of that border do not see each other. For
// SentencePiece-style vocabularies this yields words (no merge puts a space marker behind a letter), which
// can be remembered; a text that has no border stays whole.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace quantmoe {

class MergeBorders {
 public:
  // `merges`: both sides as written. Tokens are UTF-8 and stand for the text they spell.
  void AddMerges(const std::vector<std::pair<std::string, std::string>>& merges);
  // A code point that is a token by itself. Only in front of one of these is a border: it ends a run of
  // unknown characters, which may become one token.
  void AddCharacter(char32_t character) { known_[character] = true; }

  // The end of the part of `text` that begins at `begin`: a border, or the end of the text.
  size_t NextBorder(std::string_view text, size_t begin) const;

 private:
  static constexpr size_t kAscii = 128;
  static uint64_t Key(char32_t left, char32_t right) { return static_cast<uint64_t>(left) << 32 | right; }
  bool MayJoin(char32_t left, char32_t right) const {
    if (left < kAscii && right < kAscii) return ascii_[left * kAscii + right];
    return others_.contains(Key(left, right));
  }

  std::vector<bool> known_ = std::vector<bool>(0x110000);
  std::bitset<kAscii * kAscii> ascii_;    // by the left and the right character
  absl::flat_hash_set<uint64_t> others_;  // pairs with a character outside of ASCII
};

}  // namespace quantmoe
