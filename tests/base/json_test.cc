#include "base/json.h"

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

}  // namespace
}  // namespace quantmoe
