// The coordinator stops in the middle of a job and comes back on the same data: nothing that was committed is
// computed again, and what a worker still runs is adopted.
#include <set>

#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

TEST(CoordinatorRestartsTest, RunningTasksAreAdopted) {
  TestCluster cluster({.workers = 1, .lease = absl::Seconds(5)});
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  cluster.StopCoordinator();
  cluster.StartCoordinator();
  cluster.AwaitWorkers(1);
  cluster.tasks().Release();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  // Attempts may be more: an assignment that was on its way when the coordinator stopped is made again.
  EXPECT_EQ(cluster.tasks().started_on("w0"), static_cast<int>(cluster.ListTasks(job).size()));
}

TEST(CoordinatorRestartsTest, AResultThatIsReadyMeanwhileIsDelivered) {
  TestCluster cluster({.workers = 1, .lease = absl::Seconds(5)});
  cluster.tasks().Hold(TaskKind::kAllocate);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  cluster.StopCoordinator();
  cluster.tasks().Release();
  EXPECT_TRUE(WaitUntil([&] { return !cluster.tasks().IsHolding(); }));
  cluster.StartCoordinator();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  EXPECT_EQ(cluster.tasks().started(TaskKind::kAllocate), 1);
}

TEST(CoordinatorRestartsTest, TasksOfAWorkerThatIsGoneAreRunAgain) {
  TestCluster cluster({.workers = 1});
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  cluster.StopCoordinator();
  cluster.KillWorker("w0");
  cluster.tasks().Release();
  cluster.StartCoordinator();
  const std::string other = cluster.AddWorker();
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  std::set<std::string> lost;  // labels
  for (const v1::JobEvent& event : cluster.ListEvents(job)) {
    if (event.task_changed().outcome() == v1::TaskChanged::LOST) lost.insert(event.task_changed().task());
  }
  EXPECT_FALSE(lost.empty());
  for (const v1::Task& task : cluster.ListTasks(job)) {
    if (!lost.contains(task.name().substr(task.name().rfind('/') + 1))) continue;
    EXPECT_EQ(task.worker(), other) << task.name();
    EXPECT_GE(task.attempts(), 2) << task.name();
  }
}

}  // namespace
}  // namespace quantmoe
