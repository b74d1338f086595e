// The few Unicode facts that tokenizers and task texts need, over valid UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "text/utf8.h"

namespace quantmoe {

bool IsWhiteSpace(char32_t code_point);     // property White_Space
bool IsNumber(char32_t code_point);         // categories Nd, Nl, No
bool IsMark(char32_t code_point);           // categories Mn, Mc, Me
bool IsWordCharacter(char32_t code_point);  // \w of UTS 18

// One code point at a time, without context: "Σ" always becomes "σ".
std::string LowercaseEach(std::string_view text);
// With context, as Python's str.lower(): a final "Σ" becomes "ς".
std::string Lowercase(std::string_view text);
// Title case of one code point; may be more than one.
std::string TitlecaseOne(char32_t code_point);

}  // namespace quantmoe
