#include "base/json_number.h"

#include <limits>

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using nlohmann::json;

TEST(JsonNumberTest, WhatFitsIsRead) {
  EXPECT_EQ(FindInteger<int>(json(7)), 7);
  EXPECT_EQ(FindInteger<int>(json(-7)), -7);
  EXPECT_EQ(FindInteger<uint64_t>(json(std::numeric_limits<uint64_t>::max())),
            std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(FindInteger<int64_t>(json(std::numeric_limits<int64_t>::min())),
            std::numeric_limits<int64_t>::min());
  EXPECT_EQ(IntegersOf<int32_t>(json::array({1, -2})), (std::vector<int32_t>{1, -2}));
  EXPECT_EQ(IntegerOr<int>(json::object(), "absent", 3), 3);
}

TEST(JsonNumberTest, NothingIsWrappedOrConverted) {
  for (const json& value : {json(int64_t{1} << 32), json(std::numeric_limits<uint64_t>::max()), json(2.0),
                            json(1e300), json(true), json("7"), json(nullptr), json::array({7})}) {
    EXPECT_EQ(FindInteger<int>(value), std::nullopt) << value;
    EXPECT_THROW(IntegerOf<int>(value), std::invalid_argument) << value;
  }
  EXPECT_EQ(FindInteger<int64_t>(json(std::numeric_limits<uint64_t>::max())), std::nullopt);
  EXPECT_EQ(FindInteger<uint64_t>(json(-1)), std::nullopt);
  EXPECT_THROW(IntegerAt<int>(json::object(), "absent"), json::exception);
  EXPECT_THROW(IntegersOf<int>(json(7)), std::invalid_argument);
}

}  // namespace
}  // namespace quantmoe
