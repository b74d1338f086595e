#include "storage/whole_file.h"

#include <string>

#include <sys/stat.h>

#include "base/error_info.h"
#include "storage/file_digest.h"
#include "tests/support/pipe.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(WholeFile, GivesFilesAndPipesInTheirOrder) {
  const TemporaryDirectory files;
  std::string text(static_cast<size_t>(3 << 20), 'x');
  text.front() = 'a';
  text.back() = 'z';
  EXPECT_THAT(ReadWholeFile(files.Write("file", text), kMaxDataBytes), IsOkAndHolds(text));
  const Pipe pipe(files / "pipe", text);
  EXPECT_FALSE(CanBeReadAgain(pipe.path()));
  EXPECT_THAT(ReadWholeFile(pipe.path(), kMaxDataBytes), IsOkAndHolds(text));
  EXPECT_THAT(ReadWholeFile("/dev/null", kMaxDataBytes), IsOkAndHolds(""));
}

TEST(WholeFile, MoreThanIsTakenIsRefusedWithTheLimit) {
  const TemporaryDirectory files;
  const std::string path = files.Write("file", "12345");
  EXPECT_THAT(ReadWholeFile(path, 5), IsOk());
  EXPECT_THAT(std::string(ReadWholeFile(path, 4).status().message()),
              AllOf(HasSubstr(path), HasSubstr("more than 4 B")));
  const Pipe pipe(files / "pipe", "12345");
  EXPECT_THAT(ReadWholeFile(pipe.path(), 4), HasReason("INVALID_FIELD"));
}

TEST(WholeFile, ADeviceWithoutAnEndReachesTheLimit) {
  int64_t taken = 0;
  const absl::Status status = ReadChunks("/dev/zero", kMaxDataBytes, [&taken](absl::string_view chunk) {
    taken += static_cast<int64_t>(chunk.size());
  });
  EXPECT_THAT(status, HasReason("INVALID_FIELD"));
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("/dev/zero"), HasSubstr("256 MiB")));
  EXPECT_LE(taken, kMaxPipedBytes);
}

TEST(WholeFile, WhatCannotBeReadSaysWhy) {
  const TemporaryDirectory files;
  EXPECT_THAT(ReadWholeFile(files / "none", 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none: No such file")));
  EXPECT_THAT(ReadWholeFile(files.path(), 1), StatusIs(absl::StatusCode::kNotFound, HasSubstr("directory")));
}

TEST(WholeFile, AnErrorIsToldByTheFlagThatNamesTheFile) {
  const TemporaryDirectory files;
  for (const std::string& path : {files / "none", std::string("/dev/zero")}) {
    const absl::Status status = NameFlag("--text", ReadWholeFile(path, 4).status());
    EXPECT_THAT(GetErrorInfo(status).violations,
                testing::ElementsAre(testing::Field(&FieldViolation::field, "--text")));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  EXPECT_THAT(NameFlag("--text", absl::DataLossError("bad")),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("--text: bad")));
}

TEST(WholeFile, OnlyWhiteSpaceIsBlank) {
  for (const char* blank : {"", " \t\r\n", "\xEF\xBB\xBF\n"}) EXPECT_TRUE(IsBlank(blank)) << blank;
  EXPECT_FALSE(IsBlank("\n.\n"));
  EXPECT_FALSE(IsBlank(absl::string_view("\0", 1)));
}

// Neither ends, or gives its bytes twice.
TEST(WholeFile, DevicesAndPipesHaveNoDigest) {
  const TemporaryDirectory files;
  ASSERT_EQ(mkfifo((files / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {std::string("/dev/zero"), files / "pipe"})
    EXPECT_THAT(DigestOfFile(path), StatusIs(absl::StatusCode::kNotFound)) << path;
}

}  // namespace
}  // namespace quantmoe
