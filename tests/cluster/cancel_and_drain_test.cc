// People stop things: a cancelled job stops computing soon, a drained worker leaves without loss.
#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

TEST(CancelTest, ComputingStopsWithinTwoSeconds) {
  TestCluster cluster({.workers = 2});
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  const absl::Time start = absl::Now();
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_name(job);
  v1::Job cancelled;
  ASSERT_TRUE(cluster.jobs().CancelJob(&context, request, &cancelled).ok());
  cluster.AwaitJob(job, v1::Job::CANCELLED);
  EXPECT_TRUE(WaitUntil([&] { return !cluster.tasks().IsHolding(); }));
  EXPECT_LT(absl::Now() - start, absl::Seconds(2));
}

TEST(DrainTest, ADrainedWorkerFinishesItsTaskAndLeaves) {
  TestCluster cluster({.workers = 2});
  cluster.AwaitWorkers(2);
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  const std::string leaver = cluster.tasks().AwaitHeld();
  grpc::ClientContext context;
  v1::DrainWorkerRequest request;
  request.set_id(leaver);
  v1::Worker drained;
  ASSERT_TRUE(cluster.system().DrainWorker(&context, request, &drained).ok());
  EXPECT_TRUE(WaitUntil([&] { return !cluster.worker(leaver).ready(); }));
  cluster.tasks().Release();
  EXPECT_OK(cluster.worker(leaver).AwaitEnd());
  cluster.AwaitWorkers(1);
  cluster.AwaitJob(job, v1::Job::SUCCEEDED);
  for (const v1::JobEvent& event : cluster.ListEvents(job)) {
    EXPECT_NE(event.task_changed().outcome(), v1::TaskChanged::LOST) << "a drain costs no attempt";
    EXPECT_NE(event.task_changed().outcome(), v1::TaskChanged::FAILED);
  }
}

}  // namespace
}  // namespace quantmoe
