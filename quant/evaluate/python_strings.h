// String operations with the exact meaning that the published tasks give them, which is Python's.
#pragma once

#include <string>
#include <string_view>

namespace quantmoe {

// str.isspace() of one code point, and \s of a regular expression.
bool IsPythonSpace(char32_t code_point);

// str.replace(): what does not overlap, from the left.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

// str.strip(), str.lstrip(), str.rstrip(): white space as str.isspace() sees it.
std::string_view PythonStrip(std::string_view text);
std::string_view PythonStripLeft(std::string_view text);
std::string_view PythonStripRight(std::string_view text);

// str.capitalize(): the first character in title case, all others in lower case.
std::string PythonCapitalize(std::string_view text);

// text[0].lower() + text[1:]; `text` is not empty.
std::string LowercaseFirst(std::string_view text);

// text[:-1], by code points.
std::string_view DropLastCharacter(std::string_view text);

// What HellaSwag does to its WikiHow texts: strip, " [title]" to ". ", no "[...]", two spaces to one, once.
std::string CleanHellaSwag(std::string_view text);

}  // namespace quantmoe
