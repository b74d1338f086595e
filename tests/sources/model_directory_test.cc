#include "sources/model_directory.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "sources/model_sources.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;

class LocalDirectory : public testing::Test {
 protected:
  void SetUp() override {
    WriteTestFile(dir_ / "b.json", "hello");
    WriteTestFile(dir_ / "a.bin", "");
    WriteTestFile(dir_ / "caf\xE9.json", "no checkpoint can name it");
    std::filesystem::create_directory(dir_ / "folder");
    WriteTestFile(dir_ / "folder/inner", "x");
    std::filesystem::create_symlink(dir_ / "b.json", dir_ / "link.json");
    ASSERT_OK_AND_ASSIGN(directory_, OpenModelDirectory({ModelUri::Scheme::kFile, dir_.path()}));
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<ModelDirectory> directory_;
};

TEST_F(LocalDirectory, ListsPlainFilesByName) {
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> files, directory_->List());
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].name, "a.bin");
  EXPECT_EQ(files[1].name, "b.json");
  EXPECT_EQ(files[1].size_bytes, 5);
  EXPECT_EQ(files[2].name, "link.json");
}

TEST_F(LocalDirectory, TheVersionChangesWithTheFile) {
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> before, directory_->List());
  std::filesystem::last_write_time(
      dir_ / "b.json", std::filesystem::last_write_time(dir_ / "b.json") + std::chrono::nanoseconds(1000));
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> after, directory_->List());
  EXPECT_EQ(before[0].version, after[0].version);
  EXPECT_NE(before[1].version, after[1].version);
}

TEST_F(LocalDirectory, ReadsRangesInFullOrNotAtAll) {
  ASSERT_OK_AND_ASSIGN(const MappedFile range, directory_->Read("b.json", 1, 3));
  EXPECT_EQ(range.bytes(), "ell");
  EXPECT_THAT(directory_->Read("b.json", 3, 3), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(directory_->Read("c", 0, 0),
              AllOf(StatusIs(absl::StatusCode::kNotFound), HasReason("MODEL_FILE_NOT_FOUND")));
}

TEST_F(LocalDirectory, NamesCannotLeaveTheDirectory) {
  for (const std::string name : {"", ".", "..", "../x", "/etc/hostname", "a\\b", "folder/../b.json",
                                 "folder//inner", "./b.json", "folder/"}) {
    EXPECT_THAT(directory_->Read(name, 0, 0), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_THAT(directory_->ReadAll(name), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
}

TEST_F(LocalDirectory, FoldersAreListedAndReadByPath) {
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> files, directory_->ListFolder("folder"));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].name, "folder/inner");
  EXPECT_THAT(directory_->ReadAll("folder/inner"), IsOkAndHolds(std::string("x")));
  EXPECT_THAT(directory_->ReadAll("folder/missing"), HasReason("MODEL_FILE_NOT_FOUND"));
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> none, directory_->ListFolder("missing"));
  EXPECT_TRUE(none.empty());
  EXPECT_THAT(directory_->ListFolder(".."), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(LocalDirectory, AnLfsPointerIsNoFile) {
  for (const char* host : {"git-lfs", "hawser"}) {
    WriteTestFile(dir_ / "b.json",
                  absl::StrCat("version https://", host, ".github.com/spec/v1\noid sha256:0\n"));
    EXPECT_THAT(
        directory_->ReadAll("b.json"),
        AllOf(StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::AllOf(testing::HasSubstr("b.json"), testing::HasSubstr("git lfs pull"))),
              HasReason("MODEL_INVALID")));
  }
  WriteTestFile(dir_ / "b.json", "version https://git-lfs.github.com/spec/v1\n" + std::string(1024, 'x'));
  EXPECT_OK(directory_->ReadAll("b.json"));
}

TEST_F(LocalDirectory, WholeFilesAreLimited) {
  EXPECT_THAT(directory_->ReadAll("b.json", 5), IsOkAndHolds(std::string("hello")));
  EXPECT_THAT(directory_->ReadAll("a.bin"), IsOkAndHolds(std::string()));
  EXPECT_THAT(directory_->ReadAll("b.json", 4), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(directory_->ReadAll("missing"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(LocalDirectory, FilesAndMissingFoldersAreNoModels) {
  for (const char* name : {"b.json", "missing"}) {
    EXPECT_THAT(OpenModelDirectory({ModelUri::Scheme::kFile, dir_ / name}), HasReason("MODEL_NOT_FOUND"));
  }
}

TEST(ObjectStoreDirectory, AServiceThatDoesNotAnswerIsUnavailable) {
  ::setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1", 1);
  ::setenv("AWS_ACCESS_KEY_ID", "key", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  ::setenv("AWS_REGION", "us-east-1", 1);
  const absl::Time start = absl::Now();
  EXPECT_THAT(OpenModelDirectory({ModelUri::Scheme::kS3, "bucket/model"}),
              AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("OBJECT_STORE_UNAVAILABLE")));
  EXPECT_LT(absl::Now() - start, absl::Seconds(60));
}

}  // namespace
}  // namespace quantmoe
