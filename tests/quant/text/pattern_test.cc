#include "quant/text/pattern.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

std::vector<std::pair<size_t, size_t>> Matches(const std::string& expression, std::string_view text) {
  std::vector<std::pair<size_t, size_t>> out;
  auto pattern = Pattern::Regex(expression);
  EXPECT_TRUE(pattern.ok()) << pattern.status().ToString();
  pattern->ForEachMatch(text, [&](size_t begin, size_t end) { out.emplace_back(begin, end); });
  return out;
}

using Spans = std::vector<std::pair<size_t, size_t>>;

TEST(PatternTest, SpaceDoesNotIncludeMongolianVowelSeparator) {
  EXPECT_EQ(Matches(R"(\s+)", "a \u180e\u3000b"), (Spans{{1, 2}, {5, 8}}));
  EXPECT_EQ(Matches(R"([^\s]+)", "a \u180e\u3000b"), (Spans{{0, 1}, {2, 5}, {8, 9}}));
  EXPECT_EQ(Matches(R"([\Sx]+)", " \u180e "), (Spans{{1, 4}}));
}

TEST(PatternTest, SpellsOutSpaceInsideAndOutsideOfBrackets) {
  EXPECT_EQ(SpellOutWhiteSpace(R"(\\s)"), R"(\\s)") << "an escaped backslash is no class";
  EXPECT_EQ(SpellOutWhiteSpace(R"([[:alpha:]\s])").substr(0, 14), R"([[:alpha:]\x{9)");
  EXPECT_EQ(SpellOutWhiteSpace(R"(\S)").substr(0, 2), "[^");
}

TEST(PatternTest, LookaheadSeesTheRestOfTheText) {
  EXPECT_EQ(Matches(R"(\s+(?!\S)|\s+)", "a   b"), (Spans{{1, 3}, {3, 4}}));
}

TEST(PatternTest, EmptyMatchesMoveOn) {
  EXPECT_EQ(Matches("x*", "\u00e9x"), (Spans{{0, 0}, {2, 3}, {3, 3}}));
}

TEST(PatternTest, LongRunsDoNotExhaustTheStack) {
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(Matches(R"((?:a|b)+?$|(?:a|b)*)", text), (Spans{{0, text.size()}, {text.size(), text.size()}}));
}

TEST(PatternTest, LiteralTextIsNoExpression) {
  EXPECT_EQ(Pattern::Literal(".").ReplaceAll("a.b.", "--"), "a--b--");
  EXPECT_EQ(Pattern::Literal("").ReplaceAll("ab", "--"), "ab");
}

TEST(PatternTest, BadExpressionSaysWhere) {
  const auto pattern = Pattern::Regex("a(b");
  ASSERT_FALSE(pattern.ok());
  EXPECT_NE(pattern.status().message().find("parenthesis"), absl::string_view::npos)
      << pattern.status().ToString();
}

}  // namespace
}  // namespace quantmoe
