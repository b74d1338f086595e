#include "text/utf8.h"

#include <unicode/utf8.h>

namespace quantmoe {

bool IsAscii(std::string_view text) {
  unsigned char seen = 0;
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

bool IsValidUtf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const size_t length = text.size();
  for (size_t i = 0; i < length;) {
    UChar32 c;
    U8_NEXT(bytes, i, length, c);
    if (c < 0) return false;
  }
  return true;
}

std::string ToValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const size_t length = text.size();
  for (size_t i = 0; i < length;) {
    UChar32 c;
    U8_NEXT_OR_FFFD(bytes, i, length, c);
    AppendUtf8(static_cast<char32_t>(c), out);
  }
  return out;
}

void AppendUtf8(char32_t code_point, std::string& out) {
  char buffer[4];
  size_t n = 0;
  U8_APPEND_UNSAFE(reinterpret_cast<uint8_t*>(buffer), n, static_cast<UChar32>(code_point));
  out.append(buffer, n);
}

char32_t NextCodePoint(std::string_view text, size_t& position) {
  if (const auto byte = static_cast<unsigned char>(text[position]); byte < 0x80) {
    ++position;
    return byte;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const size_t length = text.size();
  UChar32 c;
  U8_NEXT_OR_FFFD(bytes, position, length, c);
  return static_cast<char32_t>(c);
}

char32_t PreviousCodePoint(std::string_view text, size_t& position) {
  while (position > 1 && (text[position - 1] & 0xC0) == 0x80) --position;
  size_t behind = --position;
  return NextCodePoint(text, behind);
}

int64_t CountCodePoints(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (c & 0xC0) != 0x80;
  return count;
}

}  // namespace quantmoe
