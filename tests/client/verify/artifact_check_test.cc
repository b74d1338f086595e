#include "client/verify/artifact_check.h"

#include "absl/strings/str_cat.h"

#include "storage/digest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(ArtifactCheckTest, ReadsListsAndObjects) {
  const std::string digest = DigestOf("x").sha256;
  const auto expected = ElementsAre(Pair("a/b.json", digest));
  for (const std::string& files :
       {absl::StrCat(R"([{"path": "a/b.json", "sha256": ")", digest, R"("}])"),
        absl::StrCat(R"([{"path": "a/b.json", "digest": {"sha256": ")", digest, R"("}}])"),
        absl::StrCat(R"({"a/b.json": ")", digest, R"("})"),
        absl::StrCat(R"({"a/b.json": {"sha256": ")", digest, R"("}})")}) {
    EXPECT_THAT(ParseManifest(absl::StrCat(R"({"files": )", files, "}")), IsOkAndHolds(expected)) << files;
  }
}

TEST(ArtifactCheckTest, RefusesPathsThatLeaveTheDirectory) {
  const std::string digest = DigestOf("x").sha256;
  for (const char* path : {"../a", "/etc/passwd", "a/../../b", "", ".", "a//../b", "a\\b"}) {
    EXPECT_FALSE(IsSafeRelativePath(path)) << path;
  }
  EXPECT_TRUE(IsSafeRelativePath(".eval_results/piqa.yaml"));
  EXPECT_THAT(ParseManifest(absl::StrCat(R"({"files": {"../a": ")", digest, R"("}})")),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ParseManifest(R"({"files": {"a": "123"}})"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ParseManifest("{}"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(ArtifactCheckTest, FindsDamagedAndMissingFiles) {
  TemporaryDirectory directory;
  EXPECT_THAT(CheckArtifact(directory.path()), StatusIs(absl::StatusCode::kNotFound));
  directory.Write("good", "good");
  directory.Write("bad", "bat");
  directory.Write(kManifestName,
                  absl::StrCat(R"({"files": {"good": ")", DigestOf("good").sha256, R"(", "bad": ")",
                               DigestOf("bad").sha256, R"(", "gone": ")", DigestOf("").sha256, R"("}})"));
  const auto checks = CheckArtifact(directory.path());
  ASSERT_THAT(checks, IsOk());
  ASSERT_EQ(checks->size(), 3u);
  EXPECT_EQ((*checks)[0].result, FileCheck::Result::kDamaged);
  EXPECT_EQ((*checks)[1].result, FileCheck::Result::kMissing);
  EXPECT_EQ((*checks)[2].result, FileCheck::Result::kOk);
}

}  // namespace
}  // namespace quantmoe
