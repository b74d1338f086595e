#include "base/python_json.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace quantmoe {
namespace {

// U+E000, which is for private use: no text of a configuration begins with it.
constexpr absl::string_view kMark = "\xEE\x80\x80";
constexpr absl::string_view kWords[] = {"Infinity", "-Infinity", "NaN"};

// The end of the string that begins at `i`, behind its closing quote.
size_t EndOfString(absl::string_view text, size_t i) {
  for (++i; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '+' || c == '-';
}

size_t EndOfWord(absl::string_view text, size_t i) {
  while (i < text.size() && IsWordCharacter(text[i])) ++i;
  return i;
}

}  // namespace

std::string QuoteNonFinite(absl::string_view text) {
  std::string quoted;
  quoted.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const bool string = text[i] == '"', word = IsWordCharacter(text[i]);
    const size_t end = string ? EndOfString(text, i) : word ? EndOfWord(text, i) : i + 1;
    const absl::string_view piece = text.substr(i, end - i);
    const bool marked = word && (piece == kWords[0] || piece == kWords[1] || piece == kWords[2]);
    if (marked) {
      absl::StrAppend(&quoted, "\"", kMark, piece, "\"");
    } else {
      quoted.append(piece.data(), piece.size());
    }
    i = end;
  }
  return quoted;
}

std::string UnquoteNonFinite(absl::string_view text) {
  std::string plain(text);
  for (const absl::string_view word : kWords) {
    plain = absl::StrReplaceAll(plain, {{absl::StrCat("\"", kMark, word, "\""), word}});
  }
  return plain;
}

absl::string_view NonFiniteWord(absl::string_view value) {
  if (!absl::ConsumePrefix(&value, kMark)) return "";
  for (const absl::string_view word : kWords) {
    if (value == word) return word;
  }
  return "";
}

}  // namespace quantmoe
