// Texts of other programs (errors of workers, reasons, names, files) on their way into records, logs and
// pages: they become valid UTF-8 of a bounded size, and what one line takes is one line.
#include <string>

#include "base/text.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view text = TextOf(data, size);
  const std::string valid = ValidUtf8(text);
  Require(ValidUtf8(valid) == valid, "a valid text stays as it is");
  Require(Utf8Prefix(valid, valid.size()) == valid, "a whole text is its own prefix");
  const size_t most = size == 0 ? 0 : 3 + data[0] % 64;
  const std::string cut = CutText(text, most);
  Require(cut.size() <= most && ValidUtf8(cut) == cut, "a cut text is short and valid");
  const absl::string_view prefix = Utf8Prefix(valid, most);
  Require(prefix.size() <= most && ValidUtf8(prefix) == prefix, "a prefix is short and valid");
  for (const std::string& line : {OneLine(text), PlainLines(text), EscapeHtml(text)})
    Require(ValidUtf8(line) == line, "what is shown is valid");
  for (const char c : OneLine(text))
    Require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "one line is one");
  Require(EscapeHtml(text).find('<') == std::string::npos, "a text opens no element of a page");
  return 0;
}
