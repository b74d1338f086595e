// A job goes from submission to artifact, and the number of workers leaves no trace in the bytes.
#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

std::string RunJob(int workers) {
  TestCluster cluster({.workers = workers});
  const std::string job = cluster.CreateJob();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  for (const v1::Task& task : cluster.ListTasks(job)) EXPECT_EQ(task.state(), v1::Task::DONE) << task.name();
  return cluster.ManifestDigest(job);
}

TEST(JobEndToEndTest, SameArtifactForAnyNumberOfWorkers) {
  const std::string one = RunJob(1);
  EXPECT_EQ(one.size(), 64u);
  EXPECT_EQ(RunJob(2), one);
  EXPECT_EQ(RunJob(4), one);
}

TEST(JobEndToEndTest, TheEventLogHasEveryTaskOnceAndNoGap) {
  TestCluster cluster({.workers = 2});
  const std::string job = cluster.CreateJob();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  std::map<std::string, int> committed;
  int64_t seq = 0;
  for (const v1::JobEvent& event : cluster.ListEvents(job)) {
    EXPECT_EQ(event.seq(), ++seq);
    if (event.task_changed().outcome() == v1::TaskChanged::COMMITTED)
      ++committed[event.task_changed().task()];
  }
  EXPECT_EQ(committed.size(), cluster.ListTasks(job).size());
  for (const auto& [task, times] : committed) EXPECT_EQ(times, 1) << task;
}

TEST(JobEndToEndTest, ASecondEqualJobComputesNothing) {
  TestCluster cluster({.workers = 1});
  const std::string first = cluster.CreateJob();
  cluster.AwaitJob(first, v1::Job::SUCCEEDED);
  const int started = cluster.tasks().started_on("w0");
  const std::string second = cluster.CreateJob();
  cluster.AwaitJob(second, v1::Job::SUCCEEDED);
  EXPECT_EQ(cluster.tasks().started_on("w0"), started);
  EXPECT_EQ(cluster.ManifestDigest(first), cluster.ManifestDigest(second));
}

}  // namespace
}  // namespace quantmoe
