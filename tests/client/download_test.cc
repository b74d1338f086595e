#include "client/download.h"

#include "client/artifact_check.h"
#include "storage/digest.h"
#include "tests/client/fake_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class DownloadTest : public ::testing::Test {
 protected:
  DownloadTest() {
    FakeArtifacts& artifacts = server_.artifacts;
    artifacts.artifact.set_name("artifacts/a");
    artifacts.Add(kManifestName, "{\"files\": {}}");
    artifacts.Add("sub/weights", std::string(40, 'w') + "end");
  }

  absl::Status Download(bool force = false) {
    return DownloadArtifact(*server_.Connect(), server_.artifacts.artifact,
                            {.directory = out_ / "model", .force = force, .on_file = nullptr});
  }

  const std::string& Weights() { return server_.artifacts.bytes["sub/weights"]; }

  FakeServer server_;
  TemporaryDirectory out_;
};

TEST_F(DownloadTest, TakesTheManifestLast) {
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_THAT(server_.artifacts.requests, ElementsAre(Pair("sub/weights", 0), Pair(kManifestName, 0)));
  EXPECT_FALSE(out_.Exists("model/sub/weights.part"));
}

TEST_F(DownloadTest, FetchesTheManifestOfAnArtifactThatListsOnlyTheOthers) {
  server_.artifacts.artifact.mutable_files()->DeleteSubrange(0, 1);
  server_.artifacts.artifact.set_manifest_sha256(DigestOf(server_.artifacts.bytes[kManifestName]).sha256);
  ASSERT_THAT(Download(), IsOk());
  EXPECT_TRUE(out_.Exists("model/artifact.json"));
}

TEST_F(DownloadTest, ResumesWithinOneRunAndAcrossRuns) {
  out_.Write("model/sub/weights.part", Weights().substr(0, 10));
  server_.artifacts.breaks = 1;
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  EXPECT_THAT(server_.artifacts.requests,
              ElementsAre(Pair("sub/weights", 10), Pair("sub/weights", 26), Pair(kManifestName, 0)));
}

TEST_F(DownloadTest, APartOfAnotherArtifactIsFetchedAnew) {
  out_.Write("model/sub/weights.part", "something else");
  ASSERT_THAT(Download(), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
  out_.Write("model/sub/weights", "");
  out_.Write("model/sub/weights.part", std::string(1000, 'x'));
  ASSERT_THAT(Download(/*force=*/true), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
}

TEST_F(DownloadTest, DamagedBytesAreNeverPublished) {
  server_.artifacts.bytes["sub/weights"][3] = 'X';
  EXPECT_THAT(Download(), HasReason("DIGEST_MISMATCH"));
  EXPECT_FALSE(out_.Exists("model/sub/weights"));
  EXPECT_FALSE(out_.Exists("model/sub/weights.part"));
  EXPECT_FALSE(out_.Exists("model/artifact.json"));
}

TEST_F(DownloadTest, AStreamThatIsTooLongIsRefused) {
  server_.artifacts.bytes["sub/weights"] += "more";
  EXPECT_THAT(Download(), HasReason("DIGEST_MISMATCH"));
}

TEST_F(DownloadTest, KeepsWhatIsThereAndReplacesOnlyWithForce) {
  ASSERT_THAT(Download(), IsOk());
  server_.artifacts.requests.clear();
  ASSERT_THAT(Download(), IsOk());
  EXPECT_THAT(server_.artifacts.requests, IsEmpty());
  out_.Write("model/sub/weights", "mine");
  EXPECT_THAT(Download(), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(out_.Read("model/sub/weights"), "mine");
  ASSERT_THAT(Download(/*force=*/true), IsOk());
  EXPECT_EQ(out_.Read("model/sub/weights"), Weights());
}

TEST_F(DownloadTest, RefusesPathsThatLeaveTheDirectory) {
  server_.artifacts.Add("../escape", "x");
  EXPECT_THAT(Download(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_FALSE(out_.Exists("escape"));
}

}  // namespace
}  // namespace quantmoe
