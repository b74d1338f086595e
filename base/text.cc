#include "base/text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace quantmoe {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr absl::string_view kCut = "...";
constexpr size_t kLongestWordCut = 40;  // bytes that are given up to end behind a word

uint8_t ByteAt(absl::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// What the first byte of a character says about it: its length, and the range of its second byte, which
// excludes overlong forms, surrogates and numbers beyond Unicode (table 3-7 of the Unicode Standard).
struct Lead {
  size_t length = 0;
  uint8_t second_low = 0x80, second_high = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte < 0xF0) return {3, uint8_t(byte == 0xE0 ? 0xA0 : 0x80), uint8_t(byte == 0xED ? 0x9F : 0xBF)};
  if (byte < 0xF5) return {4, uint8_t(byte == 0xF0 ? 0x90 : 0x80), uint8_t(byte == 0xF4 ? 0x8F : 0xBF)};
  return {0};
}

// Of a whole character of `length` bytes.
uint32_t CodePoint(absl::string_view character) {
  if (character.size() == 1) return ByteAt(character, 0);
  uint32_t code = ByteAt(character, 0) & (0x7F >> character.size());
  for (size_t i = 1; i < character.size(); ++i) code = code << 6 | (ByteAt(character, i) & 0x3F);
  return code;
}

// C0, DEL and C1 controls, separators of lines, what reorders the text around it, and what is not seen at
// all. The two joiners (U+200C, U+200D) are part of words and of emoji.
bool CommandsDisplay(uint32_t code) {
  constexpr std::pair<uint32_t, uint32_t> kRanges[] = {{0x0, 0x1F},      {0x7F, 0x9F},      {0x61C, 0x61C},
                                                       {0x180E, 0x180E}, {0x200B, 0x200B},  {0x200E, 0x200F},
                                                       {0x2028, 0x202E}, {0x2060, 0x206F},  {0xFEFF, 0xFEFF},
                                                       {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [code](const auto& range) { return code >= range.first && code <= range.second; });
}

std::string Escape(uint32_t code) {
  switch (code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return code <= 0xFFFF ? absl::StrCat("\\u", absl::Hex(code, absl::kZeroPad4))
                            : absl::StrCat("\\U", absl::Hex(code, absl::kZeroPad8));
  }
}

std::string EscapeCommands(absl::string_view text, absl::string_view kept) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8CharacterBytes(text);
    const absl::string_view character = text.substr(0, length);
    if (length == 0) {
      absl::StrAppend(&shown, kReplacement);
    } else if (CommandsDisplay(CodePoint(character)) && kept.find(text.front()) == absl::string_view::npos) {
      absl::StrAppend(&shown, Escape(CodePoint(character)));
    } else {
      absl::StrAppend(&shown, character);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return shown;
}

}  // namespace

size_t Utf8CharacterBytes(absl::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = LeadOf(ByteAt(text, 0));
  if (lead.length <= 1) return lead.length;
  if (text.size() < lead.length) return 0;
  if (ByteAt(text, 1) < lead.second_low || ByteAt(text, 1) > lead.second_high) return 0;
  for (size_t i = 2; i < lead.length; ++i) {
    if ((ByteAt(text, i) & 0xC0) != 0x80) return 0;
  }
  return lead.length;
}

absl::string_view Utf8Prefix(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // A character that begins in the last three bytes may reach beyond the border.
  for (size_t back = 1; back <= 3 && back <= max_bytes; ++back) {
    if (Utf8CharacterBytes(text.substr(max_bytes - back)) > back) return text.substr(0, max_bytes - back);
  }
  return text.substr(0, max_bytes);
}

std::string ValidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8CharacterBytes(text);
    absl::StrAppend(&valid, length == 0 ? kReplacement : text.substr(0, length));
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return valid;
}

std::string CutText(absl::string_view text, size_t max_bytes) {
  // A byte more than what is kept is looked at, so that a text of just the limit is not cut.
  std::string valid = ValidUtf8(Utf8Prefix(text, max_bytes + 4));
  if (valid.size() <= max_bytes) return valid;
  if (max_bytes <= kCut.size()) return std::string(Utf8Prefix(valid, max_bytes));
  absl::string_view kept = Utf8Prefix(valid, max_bytes - kCut.size());
  const size_t space = kept.rfind(' ');
  if (space != absl::string_view::npos && kept.size() - space <= kLongestWordCut)
    kept = kept.substr(0, space);
  return absl::StrCat(kept, kCut);
}

std::string OneLine(absl::string_view text) { return EscapeCommands(text, ""); }

std::string PlainLines(absl::string_view text) { return EscapeCommands(text, "\n\t"); }

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(
      PlainLines(text), {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

}  // namespace quantmoe
