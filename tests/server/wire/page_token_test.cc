#include "server/wire/page_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(PageTokenTest, LeadsBackToTheCursor) {
  EXPECT_THAT(DecodePageToken("r", EncodePageToken("r", 123456789)), IsOkAndHolds(123456789));
  EXPECT_THAT(DecodePageToken("r", ""), IsOkAndHolds(0));
}

TEST(PageTokenTest, BelongsToOneRequest) {
  EXPECT_THAT(DecodePageToken("other", EncodePageToken("r", 1)), HasReason("INVALID_FIELD"));
  EXPECT_THAT(DecodePageToken("r", "MTIz"), HasReason("INVALID_FIELD"));
}

TEST(PageTokenTest, DoesNotShowTheCursor) {
  EXPECT_NE(EncodePageToken("r", 1).substr(0, 8), EncodePageToken("r", 2).substr(0, 8));
}

TEST(PageTokenTest, TextsOfAnyLengthAreCursors) {
  for (const size_t length : {1, 8, 31, 32, 33, 200}) {
    const std::string cursor(length, 'w');
    const std::string token = EncodeTextPageToken("r", cursor);
    EXPECT_THAT(DecodeTextPageToken("r", token), IsOkAndHolds(cursor));
    EXPECT_LE(token.size(), 400u);  // at_most of ListWorkersRequest.page_token
    EXPECT_THAT(DecodeTextPageToken("other", token), HasReason("INVALID_FIELD"));
  }
  EXPECT_THAT(DecodeTextPageToken("r", ""), IsOkAndHolds(""));
  EXPECT_THAT(DecodePageToken("r", EncodeTextPageToken("r", "short")), HasReason("INVALID_FIELD"));
}

TEST(PageSizeTest, IsClampedButNotNegative) {
  EXPECT_THAT(PageSize(0, 50, 100), IsOkAndHolds(50));
  EXPECT_THAT(PageSize(1000, 50, 100), IsOkAndHolds(100));
  EXPECT_THAT(PageSize(-1, 50, 100), HasReason("INVALID_FIELD"));
}

}  // namespace
}  // namespace quantmoe
