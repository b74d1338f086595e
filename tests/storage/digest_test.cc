#include "storage/digest.h"

#include "gtest/gtest.h"

namespace quantmoe {
namespace {

TEST(Digest, EqualsThePublishedVectors) {
  EXPECT_EQ(DigestOf("").sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(DigestOf("abc").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(DigestOf("abc").size_bytes, 3);
}

TEST(Digest, PiecesGiveTheDigestOfTheWhole) {
  Sha256 hash;
  hash.Update("a");
  hash.Update("");
  hash.Update("bc");
  EXPECT_EQ(hash.Finish(), DigestOf("abc"));
}

TEST(Digest, OnlyLowerCaseHexOfFullLengthIsADigest) {
  const std::string good(64, 'a');
  EXPECT_TRUE(IsSha256(good));
  EXPECT_FALSE(IsSha256(good + "a"));
  EXPECT_FALSE(IsSha256(good.substr(1)));
  EXPECT_FALSE(IsSha256(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256("../" + good.substr(3)));
}

}  // namespace
}  // namespace quantmoe
