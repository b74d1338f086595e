// GPT-2's alphabet: every byte as one printable code point. tokenizer.json writes byte-level vocabularies in
// it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/unicode.h"

namespace quantmoe {

// Printable bytes stand for themselves; the others follow from U+0100 on, in byte order.
constexpr std::array<char32_t, 256> MakeByteAlphabet() {
  std::array<char32_t, 256> letters{};
  char32_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    letters[b] = printable ? static_cast<char32_t>(b) : next++;
  }
  return letters;
}
inline constexpr std::array<char32_t, 256> kByteAlphabet = MakeByteAlphabet();

// The bytes that `token` stands for; nullopt when it has a code point outside of the alphabet.
inline std::optional<std::string> BytesOfToken(std::string_view token) {
  static constexpr int kLetters = 0x100 + 68;  // 68 bytes are not printable
  static const auto kBytes = [] {
    std::array<int16_t, kLetters> bytes;
    bytes.fill(-1);
    for (int b = 0; b < 256; ++b) bytes[kByteAlphabet[b]] = static_cast<int16_t>(b);
    return bytes;
  }();
  std::string out;
  out.reserve(token.size());
  for (size_t i = 0; i < token.size();) {
    const char32_t c = NextCodePoint(token, i);
    if (c >= kLetters || kBytes[c] < 0) return std::nullopt;
    out += static_cast<char>(kBytes[c]);
  }
  return out;
}

}  // namespace quantmoe
