#include "storage/output_directory.h"

#include <filesystem>

#include "absl/strings/str_cat.h"

#include "storage/artifact_manifest.h"
#include "storage/digest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;

std::string WhyNot(const absl::Status& status) {
  const ErrorInfo info = GetErrorInfo(status);
  return info.violations.size() == 1
             ? absl::StrCat(info.violations[0].field, ": ", info.violations[0].description)
             : std::string(status.message());
}

class OutputDirectoryTest : public ::testing::Test {
 protected:
  std::string Refusal(const std::string& path, bool overwrite = false) const {
    return WhyNot(CheckOutputDirectory(path, {.overwrite = overwrite, .apart_from = apart_from_}).status());
  }
  void WriteArtifact(const std::string& name) const {
    dir_.Write(name + "/sub/weights", "www");
    dir_.Write(
        name + "/artifact.json",
        absl::StrCat(R"({"format": "quantmoe.artifact", "files": [{"path": "sub/weights", "sha256": ")",
                     DigestOf("www").sha256, R"(", "size": 3}]})"));
  }

  TemporaryDirectory dir_;
  std::vector<ReadFolder> apart_from_;
};

TEST_F(OutputDirectoryTest, APathIsNormalHoweverItIsTyped) {
  fs::create_directories(dir_ / "a/b");
  fs::create_directory_symlink(dir_ / "a", dir_ / "link");
  for (const char* typed : {"a/new", "a/new/", "a/new//", "a/./new/.", "a/b/../new", "link/new/"}) {
    EXPECT_EQ(NormalPath(dir_ / typed), dir_ / "a/new") << typed;
    EXPECT_THAT(CheckOutputDirectory(dir_ / typed, {}), IsOkAndHolds(dir_ / "a/new")) << typed;
  }
  EXPECT_EQ(NormalPath("x/"), fs::current_path() / "x");
  EXPECT_EQ(NormalPath("/"), "/");
}

TEST_F(OutputDirectoryTest, ANewNameAndAnEmptyFolderAreFine) {
  fs::create_directory(dir_ / "empty");
  EXPECT_EQ(Refusal(dir_ / "new"), "");
  EXPECT_EQ(Refusal(dir_ / "not/yet/there"), "");
  EXPECT_EQ(Refusal(dir_ / "empty"), "");
  EXPECT_THAT(JudgeOutput(dir_ / "new", false), IsOkAndHolds(OutputState::kNew));
  EXPECT_THAT(JudgeOutput(dir_ / "empty", false), IsOkAndHolds(OutputState::kEmpty));
}

TEST_F(OutputDirectoryTest, WhatNoProgramOfOursMadeIsRefusedWithAndWithoutOverwrite) {
  dir_.Write("folder/notes.txt", "mine");
  dir_.Write("file", "mine");
  dir_.Write("other/artifact.json", R"({"files": "of another program"})");
  fs::create_symlink(dir_ / "nowhere", dir_ / "broken");
  for (const char* name : {"folder", "file", "other", "broken", "file/below"}) {
    for (const bool overwrite : {false, true})
      EXPECT_THAT(Refusal(dir_ / name, overwrite), HasSubstr("--out: "));
  }
}

TEST_F(OutputDirectoryTest, AnEarlierArtifactNeedsOverwriteAndHoldsNothingElse) {
  WriteArtifact("a");
  EXPECT_THAT(Refusal(dir_ / "a"), HasSubstr("--overwrite"));
  EXPECT_EQ(Refusal(dir_ / "a/", /*overwrite=*/true), "");
  dir_.Write("a/sub/notes.txt", "mine");
  EXPECT_THAT(Refusal(dir_ / "a", /*overwrite=*/true), HasSubstr("sub/notes.txt"));
}

TEST_F(OutputDirectoryTest, NeverIsHoldsOrLiesInWhatIsRead) {
  dir_.Write("models/m/config.json", "{}");
  dir_.Write("cache/blob", "w");
  fs::create_symlink(dir_ / "cache/blob", dir_ / "models/m/model.safetensors");
  fs::create_directory_symlink(dir_ / "models", dir_ / "link");
  fs::create_directory(dir_ / "models/m/empty");
  apart_from_ = FoldersOfModel(dir_ / "link/m/");
  EXPECT_THAT(apart_from_, ElementsAre(Field(&ReadFolder::path, dir_ / "models/m"),
                                       Field(&ReadFolder::path, dir_ / "cache/blob")));
  EXPECT_THAT(Refusal(dir_ / "models/m"), HasSubstr("is the model"));
  EXPECT_THAT(Refusal(dir_ / "models/m/../m/"), HasSubstr("is the model"));
  EXPECT_THAT(Refusal(dir_ / "link/m/new"), HasSubstr("lies in the model"));
  EXPECT_THAT(Refusal(dir_ / "models/m/empty"), HasSubstr("lies in the model"));
  EXPECT_THAT(Refusal(dir_ / "models"), HasSubstr("holds the model"));
  EXPECT_THAT(Refusal("/"), HasSubstr("holds the model"));
  EXPECT_THAT(Refusal(dir_ / "cache"), HasSubstr("holds a file of the model"));
  EXPECT_THAT(CheckOutputFile(dir_ / "cache/blob", "--svg", apart_from_), HasReason("INVALID_FIELD"));
  EXPECT_EQ(Refusal(dir_ / "cache/new"), "");
  EXPECT_EQ(Refusal(dir_ / "models/m2"), "");
}

TEST_F(OutputDirectoryTest, AnArtifactThatIsTheModelIsNotReplaced) {
  WriteArtifact("a");
  apart_from_ = FoldersOfModel(dir_ / "a");
  EXPECT_THAT(Refusal(dir_ / "a", /*overwrite=*/true), HasSubstr("is the model"));
}

TEST_F(OutputDirectoryTest, TheStagingFolderOfSomebodyElseIsRefused) {
  dir_.Write(".new.partial/mine", "mine");
  EXPECT_THAT(Refusal(dir_ / "new"), HasSubstr(".new.partial"));
}

TEST_F(OutputDirectoryTest, AWorkingFolderIsNewEmptyOrMarked) {
  fs::create_directory(dir_ / "empty");
  dir_.Write("marked/.quantmoe-work", "");
  dir_.Write("marked/results/1", "");
  dir_.Write("foreign/results/1", "mine");
  const auto refusal = [&](const std::string& path) {
    return WhyNot(CheckWorkPath(path, {.flag = "--work-dir"}).status());
  };
  for (const char* name : {"new/", "empty", "marked/"}) EXPECT_EQ(refusal(dir_ / name), "") << name;
  EXPECT_THAT(refusal(dir_ / "foreign"), HasSubstr("--work-dir: "));
}

TEST_F(OutputDirectoryTest, AReportReplacesAFileButNoFolderModelOrInput) {
  dir_.Write("m/config.json", "{}");
  dir_.Write("text", "mine");
  dir_.Write("old.svg", "old");
  const auto refusal = [&](const std::string& path) {
    std::vector<ReadFolder> read = FoldersOfModel(dir_ / "m");
    read.push_back({"an input", dir_ / "text"});
    return WhyNot(CheckOutputFile(path, "--svg", read));
  };
  EXPECT_EQ(refusal(""), "");
  EXPECT_EQ(refusal(dir_ / "new.svg"), "");
  EXPECT_EQ(refusal(dir_ / "old.svg"), "");
  EXPECT_EQ(refusal("/dev/null"), "");
  EXPECT_THAT(refusal(dir_ / "m"), HasSubstr("--svg: "));
  EXPECT_THAT(refusal(dir_ / "new/"), HasSubstr("name of a folder"));
  EXPECT_THAT(refusal(dir_ / "no/x.svg"), HasSubstr("there is no directory"));
  EXPECT_THAT(refusal(dir_ / "m/config.json"), HasSubstr("a file of the model"));
  EXPECT_THAT(refusal(dir_ / "./text"), HasSubstr("is an input"));
  fs::create_hard_link(dir_ / "text", dir_ / "same");
  EXPECT_THAT(refusal(dir_ / "same"), HasSubstr("is an input"));
}

TEST_F(OutputDirectoryTest, AReportIsWrittenWholeAlsoThroughALink) {
  dir_.Write("real", "old");
  fs::create_symlink(dir_ / "real", dir_ / "link");
  ASSERT_THAT(WriteOutputFile(dir_ / "link", "new"), IsOk());
  EXPECT_EQ(dir_.Read("real"), "new");
  EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
  EXPECT_THAT(WriteOutputFile("/dev/null", "gone"), IsOk());
  EXPECT_TRUE(fs::exists("/dev/null") && !fs::is_regular_file("/dev/null"));
}

TEST_F(OutputDirectoryTest, ADataDirectoryIsNewEmptyOrOfAServer) {
  fs::create_directory(dir_ / "empty");
  dir_.Write("volume/lost+found/x", "");
  dir_.Write("ours/state.db", "");
  dir_.Write("ours/blobs/x", "");
  dir_.Write("foreign/blobs/staging/mine", "mine");
  for (const char* name : {"new", "empty", "volume", "ours"})
    EXPECT_THAT(ClaimDataDirectory(dir_ / name), IsOk());
  EXPECT_THAT(ClaimDataDirectory(dir_ / "foreign"), HasReason("DATA_DIR_FOREIGN"));
  fs::remove(dir_ / "ours/state.db");
  EXPECT_THAT(ClaimDataDirectory(dir_ / "ours"), IsOk()) << "blobs without a database are a cache";
}

}  // namespace
}  // namespace quantmoe
