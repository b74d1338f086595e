#include "base/byte_size.h"

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(ByteSizeTest, ReadsBinaryAndDecimalUnits) {
  EXPECT_EQ(ParseByteSize("10GiB").value(), int64_t{10} << 30);
  EXPECT_EQ(ParseByteSize("1.5 gib").value(), int64_t{3} << 29);
  EXPECT_EQ(ParseByteSize("2GB").value(), 2'000'000'000);
  EXPECT_EQ(ParseByteSize("16G").value(), 16'000'000'000);
  EXPECT_EQ(ParseByteSize("16Gi").value(), int64_t{16} << 30);
  EXPECT_EQ(ParseByteSize("010GiB").value(), int64_t{10} << 30);
  EXPECT_EQ(ParseByteSize(" 512 ").value(), 512);
  EXPECT_EQ(ParseByteSize("7B").value(), 7);
  EXPECT_EQ(ParseByteSize("9223372036854775807").value(), INT64_MAX);
}

TEST(ByteSizeTest, RefusesWhatIsNoSize) {
  for (const char* text :
       {"", "GiB", "-1", "10 XB", "1e3", "1.2.3GiB", "9000000PiB", "10GiBx", "99999999999999999999"}) {
    EXPECT_THAT(ParseByteSize(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(ByteSizeTest, ShowsThreeDigits) {
  EXPECT_EQ(FormatByteSize(0), "0 B");
  EXPECT_EQ(FormatByteSize(1023), "1023 B");
  EXPECT_EQ(FormatByteSize(1536), "1.50 KiB");
  EXPECT_EQ(FormatByteSize(10 << 20), "10.0 MiB");
  EXPECT_EQ(FormatByteSize((int64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(FormatByteSize(int64_t{123} << 30), "123 GiB");
}

}  // namespace
}  // namespace quantmoe
