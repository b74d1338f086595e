#include "storage/durable_file.h"

#include <fcntl.h>

#include <cerrno>
#include <iterator>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

TEST(DurableFile, ReplacesTheContentAndLeavesNothingElse) {
  const TemporaryDirectory dir;
  ASSERT_OK(WriteFileDurably(dir / "f", "old content"));
  ASSERT_OK(WriteFileDurably(dir / "f", "new"));
  EXPECT_EQ(ReadTestFile(dir / "f"), "new");
  const std::filesystem::directory_iterator files(dir.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(DurableFile, MakesEveryMissingFolder) {
  const TemporaryDirectory dir;
  ASSERT_OK(MakeDirs(dir / "a/b/c"));
  ASSERT_OK(MakeDirs(dir / "a/b/c"));
  EXPECT_TRUE(std::filesystem::is_directory(dir / "a/b/c"));
  WriteTestFile(dir / "file", "");
  EXPECT_THAT(MakeDirs(dir / "file"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(DurableFile, AFullDiskHasAReason) {
  EXPECT_THAT(ErrnoError(ENOSPC, "cannot write"),
              testing::AllOf(StatusIs(absl::StatusCode::kResourceExhausted), HasReason("DISK_FULL")));
  EXPECT_THAT(ErrnoError(EROFS, "cannot write"),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("DISK_READ_ONLY")));
  EXPECT_THAT(ErrnoError(EDQUOT, "cannot write"), HasReason("DISK_FULL"));
  const FileDescriptor full(::open("/dev/full", O_WRONLY));
  EXPECT_THAT(WriteAll(full.get(), "x"), HasReason("DISK_FULL"));
}

}  // namespace
}  // namespace quantmoe
