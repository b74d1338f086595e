#include "text/pattern.h"

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
  EXPECT_TRUE(
      pattern->ForEachMatch(text, [&](size_t begin, size_t end) { out.emplace_back(begin, end); }).ok());
  return out;
}

using Spans = std::vector<std::pair<size_t, size_t>>;

TEST(PatternTest, SpaceDoesNotIncludeMongolianVowelSeparator) {
  EXPECT_EQ(Matches(R"(\s+)", "a \u180e\u3000b"), (Spans{{1, 2}, {5, 8}}));
  EXPECT_EQ(Matches(R"([^\s]+)", "a \u180e\u3000b"), (Spans{{0, 1}, {2, 5}, {8, 9}}));
  EXPECT_EQ(Matches(R"([\Sx]+)", " \u180e "), (Spans{{1, 4}}));
}

TEST(PatternTest, LookaheadSeesTheRestOfTheText) {
  EXPECT_EQ(Matches(R"(\s+(?!\S)|\s+)", "a   b"), (Spans{{1, 3}, {3, 4}}));
}

TEST(PatternTest, EmptyMatchesMoveOn) {
  EXPECT_EQ(Matches("x*", "\u00e9x"), (Spans{{0, 0}, {2, 3}, {3, 3}}));
}

TEST(PatternTest, ReadsTheDialectOfOniguruma) {
  EXPECT_EQ(Matches(R"(\h+)", "12afg "), (Spans{{0, 4}})) << "a hexadecimal digit";
  EXPECT_EQ(Matches(R"([a-f&&[^b-d]]+)", "abcdef"), (Spans{{0, 1}, {4, 6}})) << "intersection";
  EXPECT_EQ(Matches(R"([^a-f&&[^b]]+)", "abxcy"), (Spans{{1, 3}, {4, 5}})) << "negated intersection";
  EXPECT_EQ(Matches(R"([a[bc]d]+)", "abcd[]"), (Spans{{0, 4}})) << "nested set";
  EXPECT_EQ(Matches(R"(\d{1,2}+)", "12345"), (Spans{{0, 5}})) << "repeated, not possessive";
  EXPECT_EQ(Matches(R"((?:ab){,2}c)", "ababc"), (Spans{{0, 5}})) << "from zero on";
  EXPECT_EQ(Matches(R"((?m:a.b))", "a\nb"), (Spans{{0, 3}})) << "the dot of m";
  EXPECT_EQ(Matches(R"(a(?i)b|c)", "aC aB"), (Spans{{0, 2}, {3, 5}})) << "flags hold across |";
  EXPECT_EQ(Matches(R"(\u00e9)", "e\u00e9"), (Spans{{1, 3}}));
  EXPECT_EQ(Matches(R"([\w-.]+)", "a\u0301-.\u00b2!"), (Spans{{0, 7}})) << "marks and superscripts are words";
  EXPECT_EQ(Matches(R"(\bb)", "\u0301b b"), (Spans{{4, 5}})) << "a mark is no border";
  EXPECT_EQ(Matches(R"([[:alpha:]]+)", "a\u093e1"), (Spans{{0, 4}})) << "alphabetic, not only letters";
  EXPECT_EQ(Matches(R"(\p{Han}+)", "\u4eba\u3001"), (Spans{{0, 3}})) << "a script without its extensions";
}

TEST(PatternTest, KnowsCodePointsOfUnicode16) {
  EXPECT_EQ(Matches(R"(\p{So}+)", "a\U0001fae9\U0001fa77b"), (Spans{{1, 9}}));
  EXPECT_EQ(Matches(R"(\p{Han}+)", "\U0002ebf0\u1c89"), (Spans{{0, 4}}));
  EXPECT_EQ(Matches(R"(\p{Lu}+)", "\u1c89\u1c8a"), (Spans{{0, 3}}));
}

TEST(PatternTest, ConstructsWithoutCounterpartAreRefused) {
  for (const char* expression : {R"(\V)", R"((?x: a))", R"(\G)", R"([[:graph:]])", R"(\Qa)"}) {
    EXPECT_EQ(Pattern::Regex(expression).status().code(), absl::StatusCode::kUnimplemented) << expression;
  }
}

TEST(PatternTest, ExplodingExpressionsAreErrors) {
  const std::string text = std::string(60, 'a') + "cb";
  for (const char* expression : {"(a+)+$", "(a|a)*b", "(a|aa)+$"}) {
    auto pattern = Pattern::Regex(expression);
    ASSERT_TRUE(pattern.ok()) << expression;
    const absl::Status status = pattern->ForEachMatch(text, [](size_t, size_t) {});
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << expression;
    EXPECT_NE(status.message().find(expression), absl::string_view::npos) << status;
  }
}

TEST(PatternTest, ManySlowPlacesUseUpTheBudget) {
  auto pattern = Pattern::Regex("a*a*b");
  ASSERT_TRUE(pattern.ok());
  const std::string text = std::string(20000, 'a') + "cb";  // quadratic
  const SearchBudget budget(absl::Milliseconds(10));
  EXPECT_EQ(pattern->ForEachMatch(text, [](size_t, size_t) {}).code(), absl::StatusCode::kResourceExhausted);
}

TEST(PatternTest, FindsTheFarMatchAndWhatIsBeforeIt) {
  EXPECT_EQ(Matches("(?<=x)y", std::string(5000, 'y') + "xy"), (Spans{{5001, 5002}}));
  std::string euros;
  for (int i = 0; i < 1000; ++i) euros += "\u20ac";
  EXPECT_EQ(Matches("[z]|b", euros + "b"), (Spans{{3000, 3001}}));
}

TEST(PatternTest, ReplacingMayNotExplode) {
  EXPECT_EQ(Pattern::Literal("a").ReplaceAll(std::string(1000, 'a'), std::string(10000, 'b')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(PatternTest, LongRunsDoNotExhaustTheStack) {
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(Matches(R"((?:a|b)+?$|(?:a|b)*)", text), (Spans{{0, text.size()}, {text.size(), text.size()}}));
}

TEST(PatternTest, LiteralTextIsNoExpression) {
  EXPECT_EQ(*Pattern::Literal(".").ReplaceAll("a.b.", "--"), "a--b--");
  EXPECT_EQ(*Pattern::Literal("").ReplaceAll("ab", "--"), "ab");
}

TEST(PatternTest, BadExpressionSaysWhere) {
  const auto pattern = Pattern::Regex("a(b");
  ASSERT_FALSE(pattern.ok());
  EXPECT_NE(pattern.status().message().find("parenthesis"), absl::string_view::npos)
      << pattern.status().ToString();
}

}  // namespace
}  // namespace quantmoe
