#include "quant/evaluate/python_strings.h"

#include "text/unicode.h"

namespace quantmoe {
namespace {

// re.sub("\\[.*?\\]", "", text): a bracket that does not close on its line stays.
std::string DropBrackets(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t close = text[i] == '[' ? text.find_first_of("]\n", i) : std::string_view::npos;
    if (close != std::string_view::npos && text[close] == ']') {
      i = close;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

// Python counts the four information separators as white space; Unicode's White_Space does not.
bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t copied = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, copied)) {
    out.append(text.substr(copied, at - copied)).append(to);
    copied = at + from.size();
  }
  return out.append(text.substr(copied));
}

std::string_view PythonStripLeft(std::string_view text) {
  size_t begin = 0;
  for (size_t i = 0; i < text.size() && IsPythonSpace(NextCodePoint(text, i));) begin = i;
  return text.substr(begin);
}

std::string_view PythonStripRight(std::string_view text) {
  size_t end = text.size();
  for (size_t i = end; i > 0 && IsPythonSpace(PreviousCodePoint(text, i));) end = i;
  return text.substr(0, end);
}

std::string_view PythonStrip(std::string_view text) { return PythonStripLeft(PythonStripRight(text)); }

std::string PythonCapitalize(std::string_view text) {
  if (text.empty()) return "";
  size_t behind_first = 0;
  const char32_t first = NextCodePoint(text, behind_first);
  // All of it is lowered, because the form of a sigma depends on what is before it.
  const size_t lowered_first = Lowercase(text.substr(0, behind_first)).size();
  return TitlecaseOne(first) + Lowercase(text).substr(lowered_first);
}

std::string LowercaseFirst(std::string_view text) {
  size_t behind_first = 0;
  NextCodePoint(text, behind_first);
  return Lowercase(text.substr(0, behind_first)) + std::string(text.substr(behind_first));
}

std::string_view DropLastCharacter(std::string_view text) {
  size_t end = text.size();
  if (end > 0) PreviousCodePoint(text, end);
  return text.substr(0, end);
}

std::string CleanHellaSwag(std::string_view text) {
  return ReplaceAll(DropBrackets(ReplaceAll(PythonStrip(text), " [title]", ". ")), "  ", " ");
}

}  // namespace quantmoe
