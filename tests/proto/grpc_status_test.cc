#include "proto/grpc_status.h"

#include <google/rpc/error_details.pb.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::SizeIs;

TEST(GrpcStatus, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_OK(FromGrpcStatus(grpc::Status::OK));
}

TEST(GrpcStatus, ViolationsSurviveTheWire) {
  const absl::Status sent = InvalidFields({{"spec.a", "is 0"}, {"spec.b", "is \xC3\xA9"}});
  const absl::Status received = FromGrpcStatus(ToGrpcStatus(sent));
  EXPECT_THAT(received, StatusIs(sent.code(), std::string(sent.message())));
  EXPECT_THAT(received, HasReason("INVALID_FIELD"));
  EXPECT_EQ(GetErrorInfo(received).violations, GetErrorInfo(sent).violations);
}

TEST(GrpcStatus, ReasonAndMetadataSurviveTheWire) {
  const absl::Status sent =
      MakeError(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", "no such job", {{"job", "jobs/7"}});
  const absl::Status received = FromGrpcStatus(ToGrpcStatus(sent));
  EXPECT_THAT(received, StatusIs(absl::StatusCode::kNotFound, "no such job"));
  EXPECT_THAT(received, HasReason("JOB_NOT_FOUND"));
  EXPECT_EQ(GetErrorInfo(received).metadata, GetErrorInfo(sent).metadata);
}

TEST(GrpcStatus, EveryErrorHasExactlyOneErrorInfoOfOurDomain) {
  const google::rpc::Status proto = ToRpcStatus(absl::InternalError("plain"));
  ASSERT_THAT(proto.details(), SizeIs(1));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(proto.details(0).UnpackTo(&info));
  EXPECT_EQ(info.domain(), "quantmoe.dev");
  EXPECT_EQ(info.reason(), "INTERNAL");
}

TEST(GrpcStatus, EveryCodeHasTheSameNumberInBoth) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "x"));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(static_cast<int>(FromGrpcStatus(status).code()), code);
  }
}

TEST(GrpcStatus, LargeErrorsFitIntoTheTrailers) {
  std::vector<FieldViolation> violations(500, {"spec.field", std::string(1000, 'x')});
  const grpc::Status status = ToGrpcStatus(InvalidFields(std::move(violations)));
  EXPECT_THAT(GetErrorInfo(FromGrpcStatus(status)).violations, SizeIs(20));
  // gRPC refuses metadata above 8 KiB; details travel in base64.
  EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size(), 8192u);
}

// Three bytes a character, and the borders of every field inside one.
std::string Hiragana(size_t pad) {
  std::string text(pad, 'x');
  for (int i = 0; i < 500; ++i) text += "\u3042";
  return text;
}

TEST(GrpcStatus, TextsAreCutAtWholeCharacters) {
  for (const size_t pad : {0, 1, 2}) {
    const std::string text = Hiragana(pad);
    absl::Status sent = MakeError(absl::StatusCode::kInvalidArgument, "X", text, {{text, text}});
    ErrorInfo info = GetErrorInfo(sent);
    info.violations.assign(30, {text, text});
    const grpc::Status status = ToGrpcStatus(WithErrorInfo(sent, info));
    google::rpc::Status proto;
    ASSERT_TRUE(proto.ParseFromString(status.error_details())) << pad;
    google::rpc::ErrorInfo detail;
    google::rpc::BadRequest bad_request;
    ASSERT_TRUE(proto.details(0).UnpackTo(&detail)) << pad;
    ASSERT_TRUE(proto.details(1).UnpackTo(&bad_request)) << pad;
    EXPECT_GT(bad_request.field_violations_size(), 5);
    EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size() * 3, 8192u) << pad;
  }
}

TEST(GrpcStatus, BytesThatAreNoTextTravel) {
  absl::Status status(absl::StatusCode::kInternal, "caf\xE9");
  google::rpc::Status proto;
  ASSERT_TRUE(proto.ParseFromString(ToGrpcStatus(status).error_details()));
  EXPECT_EQ(proto.message(), "caf\uFFFD");
}

TEST(GrpcStatus, ErrorsOfGrpcItselfKeepTheirCode) {
  EXPECT_THAT(FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "refused")),
              StatusIs(absl::StatusCode::kUnavailable, "refused"));
  EXPECT_THAT(FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "refused", "not a proto \xff")),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace quantmoe
