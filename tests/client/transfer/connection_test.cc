#include "client/transfer/connection.h"

#include "base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What a connection says to a token file with these bytes.
absl::Status OpenWithToken(const std::string& bytes) {
  TemporaryDirectory files;
  ConnectionOptions options;
  options.server = "localhost:1";
  options.tls_ca = files.Write("ca.pem", "no call is made");
  options.token_file = files.Write("token", bytes);
  return Connection::Open(options).status();
}

TEST(TokenFile, HoldsOneWord) {
  EXPECT_OK(OpenWithToken("eyJhbGciOi.x_-~+/=="));
  EXPECT_OK(OpenWithToken("\n secret\r\n")) << "white space around it is an editor's";
  for (const std::string& bytes :
       {std::string("two words"), std::string("line\nsecond: header"), std::string("caf\xE9"),
        std::string("caf\u00E9"), std::string("nul\0", 4), std::string(" \n"), std::string(8000, 'x')}) {
    const absl::Status status = OpenWithToken(bytes);
    ASSERT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << bytes;
    const std::vector<FieldViolation> violations = GetErrorInfo(status).violations;
    ASSERT_EQ(violations.size(), 1u);
    EXPECT_EQ(violations[0].field, "--token-file");
    EXPECT_THAT(violations[0].description, HasSubstr("does not hold a token"));
    EXPECT_THAT(violations[0].description, Not(HasSubstr("second"))) << "a secret is not repeated";
  }
}

TEST(TokenFile, OneThatCannotBeReadIsNamed) {
  TemporaryDirectory files;
  ConnectionOptions options;
  options.tls_ca = files.Write("ca.pem", "no call is made");
  for (const std::string& path : {files.path(), files / "none", files.Write("empty", "")}) {
    options.token_file = path;
    EXPECT_THAT(std::string(Connection::Open(options).status().message()), HasSubstr("cannot read " + path));
  }
}

}  // namespace
}  // namespace quantmoe
