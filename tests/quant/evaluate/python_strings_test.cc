#include "quant/evaluate/python_strings.h"

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

TEST(PythonStringsTest, StripsWhatPythonCallsSpace) {
  EXPECT_EQ(PythonStrip("\u3000\x1c a b\u2003\n"), "a b");
  EXPECT_EQ(PythonStripLeft(" a "), "a ");
  EXPECT_EQ(PythonStripRight(" a "), " a");
  EXPECT_EQ(PythonStrip(" \t"), "");
  EXPECT_EQ(PythonStrip("\u200b"), "\u200b") << "zero width space is no white space";
}

TEST(PythonStringsTest, CapitalizeLowersTheRest) {
  EXPECT_EQ(PythonCapitalize("hELLO World"), "Hello world");
  EXPECT_EQ(PythonCapitalize("ßX"), "Ssx");
  EXPECT_EQ(PythonCapitalize("ΟΔΟΣ"), "Οδος") << "final sigma";
  EXPECT_EQ(PythonCapitalize("ǆ"), "ǅ") << "title case, not upper case";
  EXPECT_EQ(PythonCapitalize(""), "");
}

TEST(PythonStringsTest, FirstAndLastCharactersAreCodePoints) {
  EXPECT_EQ(LowercaseFirst("ÉA"), "éA");
  EXPECT_EQ(DropLastCharacter("ab…"), "ab");
  EXPECT_EQ(DropLastCharacter(""), "");
}

TEST(PythonStringsTest, HellaSwagCleaning) {
  EXPECT_EQ(CleanHellaSwag(" A [title] B [x] c "), "A. B c") << "two spaces become one";
  EXPECT_EQ(CleanHellaSwag("a    b"), "a  b") << "one pass only";
  EXPECT_EQ(CleanHellaSwag("a [b\nc] d"), "a [b\nc] d") << "not across lines";
  EXPECT_EQ(CleanHellaSwag("a [[b]] d"), "a ] d") << "the shortest match";
}

}  // namespace
}  // namespace quantmoe
