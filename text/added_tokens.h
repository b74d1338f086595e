// Tokens that are found in the text before anything else sees it: the `added_tokens` of a tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"

namespace quantmoe {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character is next to it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = true;    // looked for in normalized text, in normalized form
  bool special = false;      // left out by Decode(skip_special_tokens)
};

// Finds the leftmost longest of a set of tokens.
class AddedTokenFinder {
 public:
  // `pattern`: how the token looks in the text that is searched. Empty patterns are ignored.
  void Add(const AddedToken& token, std::string pattern);
  // Call once, behind the last Add.
  void Finish();

  // Calls `sink` for pieces that together cover `text`, in order; `id` is -1 for text between tokens.
  using Sink = absl::FunctionRef<void(std::string_view piece, size_t offset, int32_t id)>;
  void Split(std::string_view text, Sink sink) const;

 private:
  struct Entry {
    AddedToken token;
    std::string pattern;
  };
  const Entry* MatchAt(std::string_view text, size_t position) const;

  std::vector<Entry> entries_;                                      // by pattern
  std::array<std::pair<uint32_t, uint32_t>, 256> by_first_byte_{};  // begin and end in `entries_`
};

}  // namespace quantmoe
