#include "base/text.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

// A JSON library is a second opinion on what UTF-8 is.
bool IsUtf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

TEST(Text, EveryFirstByteIsScrubbedToWhatTheLibraryTakes) {
  for (int a = 0; a < 256; ++a) {
    for (const int b : {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF}) {
      for (const char* end : {"", "\x80", "\x80\x80", "\xBF\xBF", "x"}) {
        const std::string text = {static_cast<char>(a), static_cast<char>(b)};
        const std::string scrubbed = ValidUtf8(text + end);
        ASSERT_TRUE(IsUtf8(scrubbed)) << a << " " << b;
        if (IsUtf8(text + end)) {
          ASSERT_EQ(scrubbed, text + end);
        }
      }
    }
  }
}

TEST(Text, DamageIsShownAndNothingElseChanges) {
  EXPECT_EQ(ValidUtf8("caf\xE9 \u3042"), "caf\uFFFD \u3042");
  EXPECT_EQ(ValidUtf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(ValidUtf8(""), "");
}

TEST(Text, APrefixSplitsNoCharacter) {
  const std::string text = "a\u00E9\u3042\U0001F600z";
  for (size_t size = 0; size <= text.size() + 1; ++size) {
    const std::string prefix(Utf8Prefix(text, size));
    EXPECT_TRUE(IsUtf8(prefix)) << size;
    EXPECT_LE(prefix.size(), size);
    EXPECT_GT(prefix.size() + 4, std::min(size, text.size()));
  }
  EXPECT_EQ(Utf8Prefix("\x80\x80\x80\x80", 2).size(), 2u);  // not looked for a character without end
}

TEST(Text, CutsEndBehindACharacterOrANearWord) {
  EXPECT_EQ(CutText("short", 5), "short");
  EXPECT_EQ(CutText("the quick brown fox", 15), "the quick...");
  EXPECT_EQ(CutText("\u3042\u3042\u3042\u3042", 10), "\u3042\u3042...");
  EXPECT_EQ(CutText(std::string(300, '\xFF'), 9), "\uFFFD\uFFFD...");
  EXPECT_LE(CutText("abcdef", 2).size(), 2u);
}

TEST(Text, OneLineCannotBeTwoNorCommandATerminal) {
  EXPECT_EQ(OneLine("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(OneLine("\x1b[2J\x07\x7f"), "\\u001b[2J\\u0007\\u007f");
  EXPECT_EQ(OneLine("\u009B31m\u2028\u202Etxt"), "\\u009b31m\\u2028\\u202etxt");
  EXPECT_EQ(OneLine("\xFF caf\u00E9 \u3042"), "\uFFFD caf\u00E9 \u3042");
  EXPECT_EQ(OneLine("\u061C\u200B\u2060\u2066\uFFF9\uFEFF"), "\\u061c\\u200b\\u2060\\u2066\\ufff9\\ufeff");
  EXPECT_EQ(OneLine("\U000E0001\U000E007F"), "\\U000e0001\\U000e007f");
  EXPECT_EQ(OneLine("\u0646\u200C\u0647 \U0001F469\u200D\U0001F52C"),
            "\u0646\u200C\u0647 \U0001F469\u200D\U0001F52C");
  EXPECT_EQ(PlainLines("a\n\tb\x1b"), "a\n\tb\\u001b");
}

TEST(Text, HtmlHasNoMarkupOfTheText) {
  EXPECT_EQ(EscapeHtml("<a href='x'>\"&\xFF"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\uFFFD");
  EXPECT_EQ(EscapeHtml(absl::string_view("\x1b\0\r\u202E\u2066<\n", 11)),
            "\\u001b\\u0000\\r\\u202e\\u2066&lt;\n");
}

}  // namespace
}  // namespace quantmoe
