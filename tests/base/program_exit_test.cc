#include "base/program_exit.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

TEST(ProgramExit, AnErrorCannotCommandATerminal) {
  const absl::Status plain = absl::NotFoundError("model \x1b[2J\u202E\nis gone");
  EXPECT_EQ(DescribeError("p", plain), "p: model \\u001b[2J\\u202e\nis gone\n");
  const absl::Status fields =
      InvalidFields({{"--task\n", "\x1b]0;x\x07 is no file"}, {"--text", "is empty"}});
  EXPECT_EQ(DescribeError("p", fields),
            "p: --task\\n: \\u001b]0;x\\u0007 is no file\np: --text: is empty\n  reason: INVALID_FIELD\n");
}

}  // namespace
}  // namespace quantmoe
