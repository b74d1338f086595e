// Workers that do not share the coordinator's disk give the same artifact, over streams only.
#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

TEST(StreamedBlobsTest, SameArtifactAsWithASharedDirectory) {
  TestCluster shared({.workers = 1, .blob_mode = BlobMode::kShared});
  const std::string shared_job = shared.CreateJob();
  shared.AwaitJob(shared_job, v1::Job::SUCCEEDED);
  EXPECT_TRUE(shared.worker("w0").shares_blobs());

  TestCluster streamed({.workers = 2, .blob_mode = BlobMode::kStreamed});
  const std::string streamed_job = streamed.CreateJob();
  streamed.AwaitJob(streamed_job, v1::Job::SUCCEEDED);
  EXPECT_FALSE(streamed.worker("w0").shares_blobs());
  EXPECT_EQ(streamed.ManifestDigest(streamed_job), shared.ManifestDigest(shared_job));
}

TEST(StreamedBlobsTest, AutoSharesWhatItCanSee) {
  TestCluster cluster({.workers = 1, .blob_mode = BlobMode::kAuto});
  EXPECT_TRUE(WaitUntil([&] { return cluster.worker("w0").ready(); }));
  EXPECT_TRUE(cluster.worker("w0").shares_blobs());
}

}  // namespace
}  // namespace quantmoe
