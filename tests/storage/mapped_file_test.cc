#include "storage/mapped_file.h"

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

TEST(MappedFile, OutlivesTheFileAndTheFirstHandle) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "f", "hello");
  MappedFile part;
  {
    ASSERT_OK_AND_ASSIGN(const MappedFile whole, MappedFile::Open(dir / "f"));
    part = whole.Slice(1, 3);
  }
  std::filesystem::remove(dir / "f");
  EXPECT_EQ(part.bytes(), "ell");
}

TEST(MappedFile, RangesNeedNotBeAligned) {
  const TemporaryDirectory dir;
  std::string bytes(20000, 'x');
  bytes.replace(5001, 5, "12345");
  WriteTestFile(dir / "f", bytes);
  ASSERT_OK_AND_ASSIGN(const MappedFile range, MappedFile::OpenRange(dir / "f", 5001, 5));
  EXPECT_EQ(range.bytes(), "12345");
}

TEST(MappedFile, RefusesRangesOutsideTheFile) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "f", "hello");
  EXPECT_OK(MappedFile::OpenRange(dir / "f", 5, 0));
  for (const auto& [offset, length] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 6}, {6, 0}, {-1, 2}, {2, -1}}) {
    EXPECT_THAT(MappedFile::OpenRange(dir / "f", offset, length), StatusIs(absl::StatusCode::kOutOfRange));
  }
  EXPECT_THAT(MappedFile::OpenRange(dir / "f", 1, INT64_MAX), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(MappedFile, EmptyAndMissingFilesAndFolders) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "empty", "");
  ASSERT_OK_AND_ASSIGN(const MappedFile empty, MappedFile::Open(dir / "empty"));
  EXPECT_TRUE(empty.bytes().empty());
  EXPECT_THAT(MappedFile::Open(dir / "missing"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MappedFile::Open(dir.path()), StatusIs(absl::StatusCode::kNotFound));
}

TEST(MappedFile, WrapsAString) { EXPECT_EQ(MappedFile::FromString("abc").Slice(1, 2).bytes(), "bc"); }

}  // namespace
}  // namespace quantmoe
