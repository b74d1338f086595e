// Code points in UTF-8 strings. Functions other than ToValidUtf8 and IsValidUtf8 expect valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quantmoe {

bool IsAscii(std::string_view text);

// `text` with every maximal ill-formed sequence replaced by U+FFFD, as decoders of Rust, ICU and Python do.
std::string ToValidUtf8(std::string_view text);
bool IsValidUtf8(std::string_view text);

void AppendUtf8(char32_t code_point, std::string& out);

// The code point that starts at text[position]; `position` moves behind it.
char32_t NextCodePoint(std::string_view text, size_t& position);
// The code point that ends before text[position]; `position` moves to its start.
char32_t PreviousCodePoint(std::string_view text, size_t& position);
int64_t CountCodePoints(std::string_view text);

}  // namespace quantmoe
