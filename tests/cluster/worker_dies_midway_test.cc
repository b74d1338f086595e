// A worker disappears while it computes: its task goes to another one, and the artifact is that of a calm
// run.
#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

TEST(WorkerDiesMidwayTest, ItsTaskIsRunByAnotherWorker) {
  TestCluster calm({.workers = 1});
  const std::string calm_job = calm.CreateJob();
  calm.AwaitJob(calm_job, v1::Job::SUCCEEDED);

  TestCluster cluster({.workers = 2});
  cluster.AwaitWorkers(2);
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  const std::string victim = cluster.tasks().AwaitHeld();
  cluster.KillWorker(victim);
  cluster.tasks().Release();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  EXPECT_EQ(cluster.ManifestDigest(job), calm.ManifestDigest(calm_job));

  bool lost = false;
  for (const v1::JobEvent& event : cluster.ListEvents(job)) {
    const v1::TaskChanged& changed = event.task_changed();
    lost |= changed.outcome() == v1::TaskChanged::LOST && changed.worker() == victim;
  }
  EXPECT_TRUE(lost);
}

TEST(WorkerDiesMidwayTest, AJobWaitsForAWorkerToCome) {
  TestCluster cluster({.workers = 1});
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  cluster.KillWorker("w0");
  cluster.AwaitWorkers(0);
  cluster.tasks().Release();
  EXPECT_EQ(cluster.GetJob(job).state(), v1::Job::RUNNING);
  cluster.AddWorker();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
}

}  // namespace
}  // namespace quantmoe
