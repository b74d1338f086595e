#include "quant/evaluate/wikitext.h"

#include <utility>

#include "quant/evaluate/python_strings.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

using Rule = std::pair<std::string_view, std::string_view>;

constexpr Rule kSigns[] = {{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "}, {" ; ", "; "},
                           {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
constexpr Rule kRest[] = {{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \u00b0 ", "\u00b0"},
                          {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};

// re.sub("/' [0-9]/", "/'[0-9]/"): the replacement is that text itself, not the digit.
std::string ReplaceQuotedDigit(std::string text) {
  for (size_t at = text.find("/' "); at != std::string::npos; at = text.find("/' ", at + 1)) {
    if (at + 4 < text.size() && text[at + 3] >= '0' && text[at + 3] <= '9' && text[at + 4] == '/') {
      text.replace(at, 5, "/'[0-9]/");
      at += 7;
    }
  }
  return text;
}

// re.sub("\\(\\s*([^\\)]*?)\\s*\\)", "(\\1)") for any two signs, which may be the same.
std::string TrimInside(std::string_view text, char open, char close) {
  std::string out;
  size_t copied = 0;
  for (size_t begin = text.find(open); begin != std::string_view::npos; begin = text.find(open, copied)) {
    const size_t end = text.find(close, begin + 1);
    if (end == std::string_view::npos) break;
    out.append(text.substr(copied, begin + 1 - copied));
    out.append(PythonStrip(text.substr(begin + 1, end - begin - 1))) += close;
    copied = end + 1;
  }
  return out.append(text.substr(copied));
}

}  // namespace

std::string DetokenizeWikiText(std::string_view page) {
  std::string text = ReplaceQuotedDigit(ReplaceAll(page, "s '", "s'"));
  for (const auto& [from, to] : kSigns) text = ReplaceAll(text, from, to);
  for (const char* pair : {"()", "[]", "{}", "\"\"", "''"}) text = TrimInside(text, pair[0], pair[1]);
  for (const auto& [from, to] : kRest) text = ReplaceAll(text, from, to);
  return text;
}

int64_t CountWikiTextWords(std::string_view page) {
  int64_t words = 1;
  bool in_space = false;
  for (size_t i = 0; i < page.size();) {
    const bool space = IsPythonSpace(NextCodePoint(page, i));
    words += space && !in_space;
    in_space = space;
  }
  return words;
}

}  // namespace quantmoe
