#include "client/text/error_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kServer[] = "127.0.0.1:7070";

TEST(ErrorReportTest, RefusedConnectionSaysHowToStartAServer) {
  const absl::Status error = absl::UnavailableError("failed to connect: Connection refused");
  EXPECT_EQ(ExitCodeOf(error), kExitUnavailable);
  EXPECT_EQ(RenderError(error, kServer),
            "quantmoe: cannot reach the server at 127.0.0.1:7070: failed to connect: Connection refused\n"
            "  hint: start a server with `quantmoe-server --data-dir DIR`, or name one with --server or "
            "QUANTMOE_SERVER\n");
}

TEST(ErrorReportTest, EveryBadFieldHasALine) {
  const absl::Status error = InvalidFields({{"spec.gptq.group_size", "must be 32, 64 or 128, is 7"},
                                            {"spec.budget.average_bits", "must be at least 2"}});
  EXPECT_EQ(ExitCodeOf(error), kExitInvalid);
  EXPECT_EQ(RenderError(error, kServer),
            "quantmoe: spec.gptq.group_size: must be 32, 64 or 128, is 7\n"
            "quantmoe: spec.budget.average_bits: must be at least 2\n"
            "  reason: INVALID_FIELD\n");
}

TEST(ErrorReportTest, ScriptsReadTheReason) {
  const std::string json = ErrorJson(InvalidFields({{"spec.budget", "is missing"}}));
  EXPECT_THAT(json, HasSubstr("\"reason\": \"INVALID_FIELD\""));
  EXPECT_THAT(json, HasSubstr("\"field\": \"spec.budget\""));
}

TEST(ErrorReportTest, MissingModelIsInvalidInput) {
  EXPECT_EQ(ExitCodeOf(MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", "no such directory")),
            kExitInvalid);
}

TEST(ErrorReportTest, InfeasibleBudgetNamesBothEnds) {
  const absl::Status error = MakeError(absl::StatusCode::kFailedPrecondition, "BIT_BUDGET_INFEASIBLE",
                                       "1 GiB is too small", {{"minimum", "123456"}, {"maximum", "999999"}});
  EXPECT_EQ(ExitCodeOf(error), kExitInvalid);
  EXPECT_THAT(RenderError(error, kServer), HasSubstr("from 123456 to 999999"));
}

TEST(ErrorReportTest, ForbiddenSourceNamesTheServerFlag) {
  const absl::Status error =
      MakeError(absl::StatusCode::kPermissionDenied, "SOURCE_NOT_ALLOWED", "/etc is outside the model roots");
  EXPECT_EQ(ExitCodeOf(error), kExitInvalid);
  EXPECT_THAT(RenderError(error, kServer), HasSubstr("--model-root"));
}

TEST(ErrorReportTest, MessagesStayOnOneLine) {
  const absl::Status error = absl::InternalError("two\nlines \x1b[31m");
  EXPECT_EQ(ExitCodeOf(error), kExitFailed);
  EXPECT_EQ(RenderError(error, kServer), "quantmoe: two\\nlines \\u001b[31m\n");
  EXPECT_THAT(RenderError(absl::Status(absl::StatusCode::kInternal, ""), kServer),
              StartsWith("quantmoe: INTERNAL"));
}

}  // namespace
}  // namespace quantmoe
