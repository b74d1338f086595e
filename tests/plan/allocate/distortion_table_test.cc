#include "plan/allocate/distortion_table.h"

#include "tests/plan/synthetic_table.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(DistortionTableTest, RoundTripsExactly) {
  DistortionTable table = MakeTable(ParseOrDie(SmallMoeConfig()));
  table.parts[0].rows[0].widths[2] = {1.0 / 3, 5e-324};
  table.parts[0].rows[0].fallback = "few_tokens";
  ASSERT_OK_AND_ASSIGN(const DistortionTable read, DistortionTableFromJson(DistortionTableToJson(table)));
  EXPECT_EQ(DistortionTableToJson(read), DistortionTableToJson(table));
  EXPECT_EQ(read.parts[0].rows[0].widths.at(2).distortion, 1.0 / 3);
  EXPECT_EQ(read.parts[0].rows[0].widths.at(2).relative_error, 5e-324);
  EXPECT_EQ(read.parts[0].rows[0].linear.kind, LinearKind::kQuery);
  EXPECT_EQ(read.routing.back().counts, table.routing.back().counts);
  ASSERT_OK_AND_ASSIGN(const PartTable part, PartTableFromJson(PartTableToJson(table.parts[1])));
  EXPECT_EQ(part.blobs, table.parts[1].blobs);
}

TEST(DistortionTableTest, DamagedTextIsRefused) {
  const std::string good = PartTableToJson(MakeTable(ParseOrDie(SmallMoeConfig())).parts[0]);
  ASSERT_OK(PartTableFromJson(good));
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  EXPECT_FALSE(PartTableFromJson(good.substr(0, good.size() / 2)).ok());
  EXPECT_FALSE(PartTableFromJson(with("\"query\"", "\"quarry\"")).ok());
  EXPECT_FALSE(PartTableFromJson(with("\"distortion\":", "\"distortion\":null,\"x\":")).ok());
  EXPECT_FALSE(PartTableFromJson(with("\"sha256\":\"", "\"sha256\":\"G")).ok());
  EXPECT_FALSE(PartTableFromJson(with("\"in\":128", "\"in\":-128")).ok());
  for (const char* number : {"1e300", "128.5", "4294967424", "18446744073709551615"}) {
    EXPECT_FALSE(PartTableFromJson(with("\"in\":128", absl::StrCat("\"in\":", number))).ok()) << number;
    EXPECT_FALSE(PartTableFromJson(with("\"layer\":0", absl::StrCat("\"layer\":", number))).ok()) << number;
  }
}

}  // namespace
}  // namespace quantmoe
