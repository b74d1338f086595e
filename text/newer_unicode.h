// Code points that Unicode 15 and 16 added, for PCRE2 and ICU, whose tables end at Unicode 14 and 15.
// Expressions of tokenizers ask for general categories, at most for a script; so a matcher sees each such
// code point as an older one of the same category (and script, for Han) whose UTF-8 is as long, and all
// positions stay valid.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quantmoe {

// The stand-in of `c`, or `c` itself.
char32_t OlderCodePoint(char32_t c);

// `text` (valid UTF-8) with stand-ins, of the same size; nullopt when it needs none.
std::optional<std::string> WithOlderCodePoints(std::string_view text);

}  // namespace quantmoe
