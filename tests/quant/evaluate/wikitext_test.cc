#include "quant/evaluate/wikitext.h"

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

// Expected texts are what the harness's wikitext_detokenizer gives; whole pages are in evaluate/harness.
TEST(WikiTextTest, DetokenizesAsTheHarness) {
  EXPECT_EQ(DetokenizeWikiText("the boys ' dog"), "the boys' dog");
  EXPECT_EQ(DetokenizeWikiText("a /' 5/ b"), "a /'[0-9]/ b");
  EXPECT_EQ(DetokenizeWikiText("1 @,@ 000 @.@ 5 well @-@ known"), "1,000.5 well-known");
  EXPECT_EQ(DetokenizeWikiText("a , b . c ! d ? e ; f : g"), "a, b. c! d? e; f: g");
  EXPECT_EQ(DetokenizeWikiText("( a ) [ b ] { c } \" d \" x ( open"), "(a) [b] {c} \"d\" x ( open");
  EXPECT_EQ(DetokenizeWikiText("(\n) ( ( a ) )"), "() (( a) )");
  EXPECT_EQ(DetokenizeWikiText(" = = = Deep = = = \n 30 \u00b0 N of"), " === Deep ===\n30\u00b0N of");
  EXPECT_EQ(DetokenizeWikiText(""), "");
}

TEST(WikiTextTest, CountsPiecesBetweenWhiteSpace) {
  EXPECT_EQ(CountWikiTextWords("one"), 1);
  EXPECT_EQ(CountWikiTextWords(" one \n two"), 3);
  EXPECT_EQ(CountWikiTextWords("one\u00a0\x1c two "), 3);
  EXPECT_EQ(CountWikiTextWords(""), 1);
}

}  // namespace
}  // namespace quantmoe
