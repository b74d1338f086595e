#include "base/json.h"

#include <ctime>

#include "absl/strings/str_cat.h"

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, DepthIsBounded) {
  EXPECT_OK(ParseJson(Nested(100)));
  EXPECT_THAT(ParseJson(Nested(101)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deeper nesting than 100")));
  // 390 kB of brackets, closed or not, in arrays or objects, ended a process when the value was written.
  EXPECT_FALSE(ParseJson(Nested(195000)).ok());
  EXPECT_FALSE(ParseOrderedJson(std::string(390000, '[')).ok());
  std::string objects;
  for (int i = 0; i < 50000; ++i) objects += R"({"a":)";
  EXPECT_FALSE(ParseJson(objects).ok());
}

TEST(Json, BracketsAndCommasInStringsAreText) {
  const std::string text = R"(["\"[[[[[[,,,,,,", "\\", {"a]": "}"}])";
  const absl::StatusOr<nlohmann::json> json = ParseJson(text, {.bytes = 100, .depth = 2, .values = 6});
  ASSERT_OK(json.status());
  EXPECT_EQ((*json)[0], "\"[[[[[[,,,,,,");
}

TEST(Json, BytesAndValuesAreBounded) {
  EXPECT_OK(ParseJson("[1,2,3]", {.bytes = 7, .depth = 1, .values = 4}));
  EXPECT_THAT(ParseJson("[1,2,3]", {.bytes = 6}).status().message(), HasSubstr("more bytes than 6"));
  EXPECT_THAT(ParseJson("[1,2,3]", {.values = 3}).status().message(), HasSubstr("more values than 3"));
}

TEST(Json, DamagedTextIsAnErrorWithItsPlace) {
  for (const std::string text : {"", "[1,", "{\"a\" 1}", "nul", "\"\xff\"", "\"open\\", "]", "1e9999"}) {
    const absl::Status status = ParseJson(text).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not valid JSON: ")))
        << text;
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("json.exception"))) << text;
  }
}

TEST(Json, OrderIsKeptWhereItIsAskedFor) {
  EXPECT_EQ(ParseOrderedJson(R"({"b":1,"a":2})")->dump(), R"({"b":1,"a":2})");
  EXPECT_EQ(ParseJson(R"({"b":1,"a":2})")->dump(), R"({"a":2,"b":1})");
}

TEST(Json, TheOrderedTreeIsThatOfTheLibrary) {
  std::string many = R"({"same":1)";
  for (int i = 0; i < 100; ++i) absl::StrAppend(&many, ",\"k", i % 90, "\":", i);
  many += R"(,"same":{"z":[],"a":{}},"k3":"\u00e9"})";
  for (const std::string& text :
       {many, absl::StrCat("[", many, ",", many, "]"), std::string(R"([null,true,-1,18446744073709551615])"),
        std::string(R"([1.5,1e300,"",{"a":[{"b":{}}],"a":2}])"), std::string("3")}) {
    EXPECT_EQ(ParseOrderedJson(text)->dump(), nlohmann::ordered_json::parse(text).dump());
    EXPECT_EQ(OwnOrderedJson(text).dump(), nlohmann::ordered_json::parse(text).dump());
  }
  for (const std::string text : {"", "[1,", "{\"a\" 1}", "1e9999", "[1] 2"})
    EXPECT_EQ(ParseOrderedJson(text).status(), ParseJson(text).status());
}

TEST(Json, ManyMembersOfAnObjectTakeTimeInProportion) {
  // The library's own ordered parser takes minutes of processor time.
  std::string text = "{\"k\":0";
  for (int i = 0; i < 300'000; ++i) absl::StrAppend(&text, ",\"k", i, "\":", i);
  text += "}";
  const std::clock_t begin = std::clock();
  EXPECT_EQ(ParseOrderedJson(text)->size(), 300'001u);
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace quantmoe
