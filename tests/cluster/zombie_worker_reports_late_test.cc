// A worker stands still past its lease and then reports: the result of its replacement stays.
#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

bool WasStale(Worker& worker) {
  return worker.metrics().Render().find("{kind=\"prepare\",outcome=\"stale\"} 1") != std::string::npos;
}

TEST(ZombieWorkerReportsLateTest, ItsResultIsStale) {
  TestCluster cluster({.workers = 1});
  cluster.tasks().HoldOn("w0", TaskKind::kPrepare, /*frozen=*/true);
  const std::string job = cluster.CreateJob();
  ASSERT_EQ(cluster.tasks().AwaitHeld(), "w0");
  cluster.AddWorker();
  cluster.FreezeWorker("w0");
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  const std::string digest = cluster.ManifestDigest(job);
  const auto events = cluster.ListEvents(job).size();

  EXPECT_FALSE(WasStale(cluster.worker("w0")));
  cluster.tasks().Release();
  EXPECT_TRUE(WaitUntil([&] { return WasStale(cluster.worker("w0")); }));
  EXPECT_EQ(cluster.GetJob(job).state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(cluster.ManifestDigest(job), digest);
  EXPECT_EQ(cluster.ListEvents(job).size(), events);
}

}  // namespace
}  // namespace quantmoe
