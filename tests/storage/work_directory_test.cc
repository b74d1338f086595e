#include "storage/work_directory.h"

#include <filesystem>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using Use = WorkDirectory::Use;

class WorkDirectoryTest : public ::testing::Test {
 protected:
  TemporaryDirectory dir_;
};

TEST_F(WorkDirectoryTest, IsMarkedWhileItIsThereAndGoesWithAllInIt) {
  ASSERT_OK_AND_ASSIGN(WorkDirectory work, WorkDirectory::Open(dir_ / "w", Use::kShared));
  EXPECT_TRUE(WorkDirectory::IsMarked(dir_ / "w"));
  dir_.Write("w/blobs/sha256/ab", "x");
  dir_.Write("w/results/1", "x");
  ASSERT_THAT(work.Remove(), IsOk());
  EXPECT_FALSE(dir_.Exists("w"));
}

TEST_F(WorkDirectoryTest, AFolderOfSomebodyElseIsNeitherTakenNorRemoved) {
  dir_.Write("w/results/mine", "mine");
  EXPECT_THAT(WorkDirectory::Open(dir_ / "w", Use::kShared), HasReason("NOT_A_WORK_DIRECTORY"));
  EXPECT_THAT(RemoveWorkDirectory(dir_ / "w"), IsOk());
  EXPECT_EQ(dir_.Read("w/results/mine"), "mine");
  std::filesystem::create_directory_symlink(dir_ / "w", dir_ / "link");
  EXPECT_THAT(WorkDirectory::Check(dir_ / "link"), HasReason("NOT_A_WORK_DIRECTORY"));
  EXPECT_THAT(WorkDirectory::Check(dir_.Write("file", "")), HasReason("NOT_A_WORK_DIRECTORY"));
}

TEST_F(WorkDirectoryTest, AFileOfSomebodyElseInItStays) {
  ASSERT_OK_AND_ASSIGN(WorkDirectory work, WorkDirectory::Open(dir_ / "w", Use::kShared));
  dir_.Write("w/results/1", "x");
  dir_.Write("w/notes.txt", "mine");
  ASSERT_THAT(work.Remove(), IsOk());
  EXPECT_EQ(dir_.Read("w/notes.txt"), "mine");
  EXPECT_FALSE(dir_.Exists("w/results"));
  EXPECT_THAT(WorkDirectory::Check(dir_ / "w"), IsOk());
}

TEST_F(WorkDirectoryTest, OnlyNamesOfOursAreCleared) {
  ASSERT_OK_AND_ASSIGN(const WorkDirectory work, WorkDirectory::Open(dir_ / "w", Use::kShared));
  dir_.Write("w/notes.txt", "mine");
  EXPECT_THAT(work.Clear("notes.txt"), HasReason("NOT_A_WORK_DIRECTORY"));
  EXPECT_THAT(work.Clear("../w"), HasReason("NOT_A_WORK_DIRECTORY"));
  EXPECT_TRUE(dir_.Exists("w/notes.txt"));
}

TEST_F(WorkDirectoryTest, StaysWhileAnotherRunWorksThere) {
  ASSERT_OK_AND_ASSIGN(WorkDirectory first, WorkDirectory::Open(dir_ / "w", Use::kShared));
  {
    ASSERT_OK_AND_ASSIGN(const WorkDirectory second, WorkDirectory::Open(dir_ / "w", Use::kShared));
    dir_.Write("w/results/1", "x");
    ASSERT_THAT(first.Remove(), IsOk());
    EXPECT_TRUE(dir_.Exists("w/results/1"));
    EXPECT_THAT(WorkDirectory::Open(dir_ / "w", Use::kAlone), HasReason("WORK_DIRECTORY_IN_USE"));
  }
  ASSERT_THAT(first.Remove(), IsOk());
  EXPECT_FALSE(dir_.Exists("w"));
}

}  // namespace
}  // namespace quantmoe
