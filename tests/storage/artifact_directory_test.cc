#include "storage/artifact_directory.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include <sys/wait.h>

#include "storage/output_directory.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ArtifactDirectoryTest : public ::testing::Test {
 protected:
  ArtifactDirectoryTest() {
    blobs_ = *LocalBlobStore::Open(dir_ / "blobs");
    old_ = PutArtifact("old", {"weights", "sub/old.json"});
    new_ = PutArtifact("new", {"weights", "sub/new.json"});
  }

  Digest PutArtifact(const std::string& content, const std::vector<std::string>& paths) const {
    const Digest blob = *blobs_->Put(content);
    std::vector<std::string> files;
    for (const std::string& path : paths) {
      files.push_back(absl::StrCat(R"({"path": ")", path, R"(", "sha256": ")", blob.sha256, R"(", "size": )",
                                   blob.size_bytes, "}"));
    }
    return *blobs_->Put(
        absl::StrCat(R"({"format": "quantmoe.artifact", "files": [)", absl::StrJoin(files, ","), "]}"));
  }

  absl::Status Publish(const Digest& manifest, bool overwrite = false) const {
    return MaterialiseArtifact(*blobs_, manifest, dir_ / "out", overwrite).status();
  }

  // This program once more, which publishes (PublishesInAProcessOfItsOwn) and dies at the place.
  void DieAt(const char* place, const Digest& manifest, bool overwrite) const {
    const std::string command = absl::StrCat(
        "QUANTMOE_CRASH_AT=", place, " QUANTMOE_TEST_PUBLISH='", dir_.path(), " ", manifest.sha256, " ",
        manifest.size_bytes, " ", overwrite ? "1" : "0", "' '", fs::read_symlink("/proc/self/exe").string(),
        "' --gtest_filter='*PublishesInAProcessOfItsOwn' > /dev/null");
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 137) << place << " " << status;
  }

  bool IsWhole(const std::string& name, const std::string& content) const {
    return dir_.Exists(name + "/artifact.json") && dir_.Read(name + "/weights") == content &&
           dir_.Read(absl::StrCat(name, "/sub/", content, ".json")) == content;
  }
  void ExpectOnly(const std::string& content) const {
    EXPECT_TRUE(IsWhole("out", content));
    EXPECT_FALSE(dir_.Exists("out/.quantmoe.partial"));
    EXPECT_FALSE(dir_.Exists(".out.partial"));
    EXPECT_EQ(FirstForeignEntry(dir_ / "out", *ReadArtifactManifest(dir_ / "out")), "");
  }

  TemporaryDirectory dir_;
  std::unique_ptr<LocalBlobStore> blobs_;
  Digest old_, new_;
};

TEST(ArtifactDirectoryProcess, PublishesInAProcessOfItsOwn) {
  const char* const asked = std::getenv("QUANTMOE_TEST_PUBLISH");
  if (asked == nullptr) return;
  const std::vector<std::string> words = absl::StrSplit(asked, ' ');
  ASSERT_EQ(words.size(), 4u);
  const auto blobs = *LocalBlobStore::Open(words[0] + "/blobs");
  EXPECT_OK(
      MaterialiseArtifact(*blobs, {words[1], std::stoll(words[2])}, words[0] + "/out", words[3] == "1"));
}

TEST_F(ArtifactDirectoryTest, TakesANewNameAndAnEmptyFolder) {
  ASSERT_THAT(Publish(old_), IsOk());
  ExpectOnly("old");
  ASSERT_THAT(RemoveArtifact(dir_ / "out"), IsOk());
  EXPECT_FALSE(dir_.Exists("out"));
  fs::create_directory(dir_ / "out");
  fs::permissions(dir_ / "out", fs::perms::owner_all);
  ASSERT_THAT(Publish(new_), IsOk());
  ExpectOnly("new");
  EXPECT_EQ(fs::status(dir_ / "out").permissions(), fs::perms::owner_all) << "it is not the user's folder";
}

TEST_F(ArtifactDirectoryTest, ReplacesAnArtifactOnlyWhenAskedAndLeavesNothingOfIt) {
  ASSERT_THAT(Publish(old_), IsOk());
  EXPECT_THAT(Publish(new_), HasReason("OUTPUT_EXISTS"));
  ExpectOnly("old");
  ASSERT_THAT(Publish(new_, /*overwrite=*/true), IsOk());
  ExpectOnly("new");
  ASSERT_THAT(Publish(new_, /*overwrite=*/true), IsOk());
  ExpectOnly("new");
}

TEST_F(ArtifactDirectoryTest, NothingOfTheUsersIsReplaced) {
  dir_.Write("out/notes.txt", "mine");
  for (const bool overwrite : {false, true})
    EXPECT_THAT(Publish(new_, overwrite), HasReason("OUTPUT_EXISTS"));
  EXPECT_EQ(dir_.Read("out/notes.txt"), "mine");
  fs::remove(dir_ / "out/notes.txt");
  ASSERT_THAT(Publish(old_), IsOk());
  dir_.Write("out/sub/notes.txt", "mine");
  EXPECT_THAT(Publish(new_, /*overwrite=*/true), HasReason("OUTPUT_EXISTS"));
  EXPECT_THAT(RemoveArtifact(dir_ / "out"), HasReason("FOREIGN_FILE"));
  EXPECT_EQ(dir_.Read("out/sub/notes.txt"), "mine");
}

TEST_F(ArtifactDirectoryTest, WhatALinkInAnArtifactLeadsToIsNeitherReplacedNorRemoved) {
  dir_.Write("home/old.json", "mine");
  dir_.Write("home/.quantmoe-work", "");
  dir_.Write("home/results/1", "mine");
  const auto expect_kept = [&](const char* what) {
    EXPECT_THAT(Publish(new_, /*overwrite=*/true), HasReason("OUTPUT_EXISTS")) << what;
    EXPECT_THAT(RemoveArtifact(dir_ / "out"), HasReason("FOREIGN_FILE")) << what;
    EXPECT_EQ(dir_.Read("home/old.json"), "mine") << what;
    EXPECT_EQ(dir_.Read("home/results/1"), "mine") << what;
    fs::remove_all(dir_ / "out");
  };
  ASSERT_THAT(Publish(old_), IsOk());
  fs::remove_all(dir_ / "out/sub");
  fs::create_directory_symlink(dir_ / "home", dir_ / "out/sub");
  expect_kept("a folder");
  ASSERT_THAT(Publish(old_), IsOk());
  fs::remove(dir_ / "out/sub/old.json");
  fs::create_symlink(dir_ / "home/old.json", dir_ / "out/sub/old.json");
  expect_kept("a file");
  ASSERT_THAT(Publish(old_), IsOk());
  fs::create_directory_symlink(dir_ / "home", dir_ / "out/work");
  expect_kept("a working folder");
  ASSERT_THAT(Publish(old_), IsOk());
  fs::rename(dir_ / "out", dir_ / "moved");
  fs::create_directory_symlink(dir_ / "moved", dir_ / "out");
  EXPECT_THAT(RemoveArtifact(dir_ / "out"), HasReason("FOREIGN_FILE"));
  EXPECT_TRUE(IsWhole("moved", "old"));
}

TEST_F(ArtifactDirectoryTest, AUsersFolderInTheWayOfAnInterruptedFillStays) {
  fs::create_directory(dir_ / "out");
  DieAt("publish-file-placed:2", old_, /*overwrite=*/false);
  ASSERT_TRUE(dir_.Exists("out/.quantmoe.partial/new"));
  fs::copy(blobs_->PathOf(old_), dir_ / "out/.quantmoe.partial/new/artifact.json");
  dir_.Write("out/sub/notes.txt", "mine");
  EXPECT_THAT(Publish(new_, /*overwrite=*/true), HasReason("OUTPUT_EXISTS"));
  EXPECT_EQ(dir_.Read("out/sub/notes.txt"), "mine");
}

TEST_F(ArtifactDirectoryTest, AFolderWithoutAManifestIsNotRemoved) {
  dir_.Write("out/weights", "mine");
  EXPECT_FALSE(RemoveArtifact(dir_ / "out").ok());
  EXPECT_EQ(dir_.Read("out/weights"), "mine");
  EXPECT_THAT(RemoveArtifact(dir_ / "never"), IsOk());
}

TEST_F(ArtifactDirectoryTest, AFullDiskLeavesTheEarlierArtifact) {
  ASSERT_THAT(Publish(old_), IsOk());
  fs::remove(blobs_->PathOf(*blobs_->Put("new")));
  EXPECT_FALSE(Publish(new_, /*overwrite=*/true).ok());
  ExpectOnly("old");
}

TEST_F(ArtifactDirectoryTest, ACrashOfANewPublicationLeavesAllOrNothing) {
  for (const char* place : {"publish-file-placed", "publish-file-placed:2", "before-publish-rename"}) {
    DieAt(place, new_, /*overwrite=*/false);
    EXPECT_FALSE(dir_.Exists("out")) << place;
  }
  ASSERT_THAT(Publish(new_), IsOk());
  ExpectOnly("new");
}

TEST_F(ArtifactDirectoryTest, ACrashOfAReplacementLosesNeitherArtifact) {
  ASSERT_THAT(Publish(old_), IsOk());
  for (const char* place : {"publish-file-placed", "before-publish-rename"}) {
    DieAt(place, new_, /*overwrite=*/true);
    EXPECT_TRUE(IsWhole("out", "old")) << place;
  }
  DieAt("after-publish-exchange", new_, /*overwrite=*/true);
  EXPECT_TRUE(IsWhole("out", "new"));
  EXPECT_TRUE(IsWhole(".out.partial/new", "old"));
  ASSERT_THAT(Publish(new_, /*overwrite=*/true), IsOk());
  ExpectOnly("new");
}

TEST_F(ArtifactDirectoryTest, ACrashWhileAnEmptyFolderIsFilledIsTakenUp) {
  for (const char* place : {"publish-file-placed", "publish-file-moved", "publish-file-moved:2"}) {
    fs::create_directory(dir_ / "out");
    DieAt(place, old_, /*overwrite=*/false);
    EXPECT_FALSE(dir_.Exists("out/artifact.json")) << place;
    ASSERT_THAT(Publish(new_), IsOk()) << place;
    ExpectOnly("new");
    ASSERT_THAT(RemoveArtifact(dir_ / "out"), IsOk());
  }
}

TEST_F(ArtifactDirectoryTest, AFilledFolderThatWasNotTidiedIsAnArtifact) {
  fs::create_directory(dir_ / "out");
  DieAt("publish-file-moved:3", old_, /*overwrite=*/false);
  EXPECT_TRUE(IsWhole("out", "old"));
  EXPECT_THAT(Publish(new_), HasReason("OUTPUT_EXISTS"));
  ASSERT_THAT(Publish(new_, /*overwrite=*/true), IsOk());
  ExpectOnly("new");
}

TEST_F(ArtifactDirectoryTest, AnInterruptedReplacementInTwoStepsIsSaid) {
  ASSERT_THAT(Publish(old_), IsOk());
  dir_.Write(".out.partial/.quantmoe-work", "");
  fs::rename(dir_ / "out", dir_ / ".out.partial/old");
  const absl::StatusOr<OutputState> judged = JudgeOutput(dir_ / "out", /*overwrite=*/false);
  EXPECT_THAT(judged.status().message(), HasSubstr("the earlier artifact is whole in"));
  EXPECT_TRUE(IsWhole(".out.partial/old", "old"));
  ASSERT_THAT(Publish(new_, /*overwrite=*/true), IsOk());
  ExpectOnly("new");
}

}  // namespace
}  // namespace quantmoe
