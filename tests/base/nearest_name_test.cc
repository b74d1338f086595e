#include "base/nearest_name.h"

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

TEST(NearestNameTest, NamesWhatWasProbablyMeant) {
  const std::vector<std::string> names = {"group_size", "gate_weighted", "damp"};
  EXPECT_EQ(NearestName("group_sise", names), "group_size");
  EXPECT_EQ(NearestName("groupsize", names), "group_size");
  EXPECT_EQ(NearestName("gate", names), "gate_weighted");
  EXPECT_EQ(NearestName("dmap", names), "damp");
  EXPECT_EQ(NearestName("temperature", names), "");
  EXPECT_EQ(NearestName(std::string(1 << 20, 'a'), names), "");
  EXPECT_EQ(NearestName("damp", {}), "");
}

}  // namespace
}  // namespace quantmoe
