#include "base/error_info.h"

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ErrorInfo, TravelsInsideTheStatus) {
  const absl::Status status = MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH", "blob is damaged",
                                        {{"sha256", "ab\"\\\xff"}});
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, "blob is damaged"));
  const ErrorInfo info = GetErrorInfo(status);
  EXPECT_EQ(info.reason, "DIGEST_MISMATCH");
  EXPECT_THAT(info.metadata.at("sha256"), testing::StartsWith("ab\"\\"));
  EXPECT_TRUE(info.violations.empty());
}

TEST(ErrorInfo, WithoutAPayloadTheReasonIsTheCode) {
  EXPECT_EQ(GetErrorInfo(absl::UnavailableError("x")).reason, "UNAVAILABLE");
}

TEST(ErrorInfo, EveryBadFieldIsNamed) {
  EXPECT_OK(InvalidFields({}));
  const absl::Status status = InvalidFields({{"a.b", "is 0"}, {"c", "is missing"}});
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, "a.b: is 0; c: is missing"));
  EXPECT_THAT(status, HasReason("INVALID_FIELD"));
  EXPECT_THAT(GetErrorInfo(status).violations,
              ElementsAre(FieldViolation{"a.b", "is 0"}, FieldViolation{"c", "is missing"}));
}

TEST(ErrorInfo, AnyBytesBecomeText) {
  const absl::Status status =
      Annotate(MakeError(absl::StatusCode::kInternal, "X", "cannot read caf\xE9"), "folder \xFF");
  EXPECT_EQ(status.message(), "folder \uFFFD: cannot read caf\uFFFD");
  EXPECT_EQ(InvalidFields({{"a", "is \xC3"}}).message(), "a: is \uFFFD");
}

TEST(ErrorInfo, ThousandsOfBadFieldsAreCounted) {
  const absl::Status status = InvalidFields(std::vector<FieldViolation>(50000, {"rules", "is empty"}));
  EXPECT_THAT(std::string(status.message()), testing::EndsWith("; and 49980 more"));
  EXPECT_THAT(GetErrorInfo(status).violations, testing::SizeIs(100));
}

TEST(ErrorInfo, AnnotatingKeepsCodeAndInfo) {
  const absl::Status status = Annotate(InvalidFields({{"a", "is bad"}}), "layer 3");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layer 3: a: is bad")));
  EXPECT_THAT(GetErrorInfo(status).violations, ElementsAre(FieldViolation{"a", "is bad"}));
  EXPECT_OK(Annotate(absl::OkStatus(), "layer 3"));
}

}  // namespace
}  // namespace quantmoe
