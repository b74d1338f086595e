#include "text/unicode.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include "text/newer_unicode.h"

namespace quantmoe {

bool IsWhiteSpace(char32_t code_point) { return u_isUWhiteSpace(static_cast<UChar32>(code_point)); }

bool IsNumber(char32_t code_point) {
  if (code_point < 0x80) return code_point >= '0' && code_point <= '9';
  return (U_GET_GC_MASK(static_cast<UChar32>(OlderCodePoint(code_point))) & U_GC_N_MASK) != 0;
}

bool IsMark(char32_t code_point) {
  if (code_point < 0x80) return false;
  return (U_GET_GC_MASK(static_cast<UChar32>(OlderCodePoint(code_point))) & U_GC_M_MASK) != 0;
}

bool IsWordCharacter(char32_t code_point) {
  const auto c = static_cast<UChar32>(code_point);
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

std::string LowercaseEach(std::string_view text) {
  constexpr char32_t kCapitalIWithDot = 0x130;  // the only code point whose lower case has two
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, i);
    if (c == kCapitalIWithDot) {
      out += "i\u0307";
    } else {
      AppendUtf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))), out);
    }
  }
  return out;
}

std::string Lowercase(std::string_view text) {
  std::string out;
  icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())})
      .toLower(icu::Locale::getRoot())
      .toUTF8String(out);
  return out;
}

std::string TitlecaseOne(char32_t code_point) {
  std::string out;
  icu::UnicodeString(static_cast<UChar32>(code_point))
      .toTitle(nullptr, icu::Locale::getRoot())
      .toUTF8String(out);
  return out;
}

}  // namespace quantmoe
