#include "client/transfer/download.h"

#include <csignal>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include <sys/resource.h>

#include "client/verify/artifact_check.h"
#include "storage/digest.h"
#include "tests/client/fake_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class DownloadTest : public ::testing::Test {
 protected:
  DownloadTest() {
    FakeArtifacts& artifacts = server_.artifacts;
    artifacts.artifact.set_name("artifacts/a");
    artifacts.Add(kManifestName, ManifestOf("sub/weights", WholeWeights()));
    artifacts.Add("sub/weights", WholeWeights());
  }

  static std::string WholeWeights() { return std::string(40, 'w') + "end"; }
  static std::string ManifestOf(const std::string& path, const std::string& bytes) {
    return absl::StrCat(R"({"format": "quantmoe.artifact", "files": [{"path": ")", path, R"(", "sha256": ")",
                        DigestOf(bytes).sha256, R"(", "size": )", bytes.size(), "}]}");
  }

  absl::Status Download(bool overwrite = false) {
    interrupted_.clear();
    return DownloadArtifact(*server_.Connect(), server_.artifacts.artifact,
                            {.directory = out_ / "model",
                             .overwrite = overwrite,
                             .on_file = nullptr,
                             .on_interrupted = [this](const std::string& at) { interrupted_ = at; }});
  }

  const std::string& Weights() { return server_.artifacts.bytes["sub/weights"]; }

  FakeServer server_;
  TemporaryDirectory out_;
  std::string interrupted_;
};

TEST_F(DownloadTest, TakesTheManifestLast) {
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_THAT(server_.artifacts.requests, ElementsAre(Pair("sub/weights", 0), Pair(kManifestName, 0)));
  EXPECT_FALSE(out_.Exists("model/sub/weights.part"));
  EXPECT_FALSE(out_.Exists(".model.partial"));
}

TEST_F(DownloadTest, SaysWhyAFileCannotBeWritten) {
  server_.artifacts.Add("large", std::string(5000, 'x'));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{2000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = Download();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("large.part"), HasSubstr("File too large")));
}

TEST_F(DownloadTest, FetchesTheManifestOfAnArtifactThatListsOnlyTheOthers) {
  server_.artifacts.artifact.mutable_files()->DeleteSubrange(0, 1);
  server_.artifacts.artifact.set_manifest_sha256(DigestOf(server_.artifacts.bytes[kManifestName]).sha256);
  ASSERT_THAT(Download(), IsOk());
  EXPECT_TRUE(out_.Exists("model/artifact.json"));
}

TEST_F(DownloadTest, ResumesWithinOneRun) {
  server_.artifacts.breaks = 1;
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_THAT(server_.artifacts.requests,
              ElementsAre(Pair("sub/weights", 0), Pair("sub/weights", 16), Pair(kManifestName, 0)));
}

TEST_F(DownloadTest, WhatAFailedRunFetchedIsStagedAndTheNextOneGoesOnWithIt) {
  std::string& stored = server_.artifacts.bytes[kManifestName];
  const std::string manifest = std::exchange(stored, std::string(stored.size(), 'x'));
  EXPECT_THAT(Download(), HasReason("DIGEST_MISMATCH"));
  EXPECT_FALSE(out_.Exists("model"));
  EXPECT_EQ(interrupted_, out_ / ".model.partial/new");
  stored = manifest;
  server_.artifacts.requests.clear();
  ASSERT_THAT(Download(), IsOk());
  EXPECT_THAT(server_.artifacts.requests, ElementsAre(Pair(kManifestName, 0)));
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_FALSE(out_.Exists(".model.partial"));
}

TEST_F(DownloadTest, APartOfAnotherArtifactIsFetchedAnew) {
  out_.Write(".model.partial/.quantmoe-work", "");
  out_.Write(".model.partial/new/sub/weights.part", "something else");
  out_.Write(".model.partial/new/other", "of another artifact");
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_FALSE(out_.Exists("model/other"));
}

TEST_F(DownloadTest, DamagedBytesAreNeverPublished) {
  server_.artifacts.bytes["sub/weights"][3] = 'X';
  EXPECT_THAT(Download(), HasReason("DIGEST_MISMATCH"));
  EXPECT_FALSE(out_.Exists("model"));
  EXPECT_FALSE(out_.Exists(".model.partial/new/sub/weights"));
  EXPECT_FALSE(out_.Exists(".model.partial/new/sub/weights.part"));
}

TEST_F(DownloadTest, AStreamThatIsTooLongIsRefused) {
  server_.artifacts.bytes["sub/weights"] += "more";
  EXPECT_THAT(Download(), HasReason("DIGEST_MISMATCH"));
}

TEST_F(DownloadTest, KeepsWhatIsThereAndReplacesAnArtifactOnlyWhenAsked) {
  ASSERT_THAT(Download(), IsOk());
  server_.artifacts.requests.clear();
  ASSERT_THAT(Download(), IsOk());
  EXPECT_THAT(server_.artifacts.requests, IsEmpty());
  out_.Write("model/sub/weights", "mine");
  EXPECT_THAT(Download(), HasReason("INVALID_FIELD"));
  EXPECT_EQ(out_.Read("model/sub/weights"), "mine");
  ASSERT_THAT(Download(/*overwrite=*/true), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_THAT(server_.artifacts.requests, ElementsAre(Pair("sub/weights", 0)));
  EXPECT_FALSE(out_.Exists(".model.partial"));
}

TEST_F(DownloadTest, NeverWritesIntoAFolderOfSomebodyElse) {
  out_.Write("model/notes.txt", "mine");
  for (const bool overwrite : {false, true}) {
    EXPECT_THAT(Download(overwrite), HasReason("INVALID_FIELD"));
    EXPECT_THAT(server_.artifacts.requests, IsEmpty());
    EXPECT_EQ(out_.Read("model/notes.txt"), "mine");
    EXPECT_FALSE(out_.Exists("model/artifact.json"));
  }
}

TEST_F(DownloadTest, AnArtifactWithAFileOfTheUsersIsNotReplaced) {
  ASSERT_THAT(Download(), IsOk());
  out_.Write("model/sub/weights", "old");
  out_.Write("model/notes.txt", "mine");
  EXPECT_THAT(Download(/*overwrite=*/true), HasReason("INVALID_FIELD"));
  EXPECT_EQ(out_.Read("model/notes.txt"), "mine");
  EXPECT_EQ(out_.Read("model/sub/weights"), "old");
}

TEST_F(DownloadTest, FillsAnEmptyFolder) {
  std::filesystem::create_directory(out_ / "model");
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_FALSE(out_.Exists("model/.quantmoe.partial"));
}

TEST_F(DownloadTest, RefusesPathsThatLeaveTheDirectory) {
  server_.artifacts.Add("../escape", "x");
  EXPECT_THAT(Download(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_FALSE(out_.Exists("escape"));
}

}  // namespace
}  // namespace quantmoe
