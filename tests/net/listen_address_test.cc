#include "net/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(ListenAddressTest, SplitsHostAndPort) {
  ASSERT_OK_AND_ASSIGN(const ListenAddress address, ParseListenAddress("[::1]:80"));
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, 80);
}

TEST(ListenAddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "host", ":80", "host:", "host:x", "host:70000"}) {
    EXPECT_THAT(ParseListenAddress(text), HasReason("INVALID_FIELD")) << text;
  }
}

TEST(ListenAddressTest, ItsTextIsReadAgain) {
  for (const char* text : {"127.0.0.1:80", "localhost:0", "[::1]:80", "[::]:7072"}) {
    ASSERT_OK_AND_ASSIGN(const ListenAddress address, ParseListenAddress(text));
    EXPECT_EQ(ListenAddressText(address), text);
  }
}

TEST(ListenAddressTest, KnowsLoopback) {
  EXPECT_TRUE(IsLoopback({"127.0.0.1", 1}));
  EXPECT_TRUE(IsLoopback({"localhost", 1}));
  EXPECT_FALSE(IsLoopback({"0.0.0.0", 1}));
  EXPECT_FALSE(IsLoopback({"10.0.0.1", 1}));
}

}  // namespace
}  // namespace quantmoe
