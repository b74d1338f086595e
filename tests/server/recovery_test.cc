// What a coordinator knows after a restart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_clock.h"

namespace quantmoe {
namespace {

TEST(RecoveryTest, AHeldAttemptIsAdoptedAndCommits) {
  RunningServer server;
  server.CreateTinyJob();
  v1::Assign assign;
  std::vector<v1::TaskBlob> outputs;
  {
    FakeWorker worker(server.coordinator().worker_address());
    assign = worker.AwaitAssign();
    outputs = worker.Produce(assign.task());
    server.Stop();
  }
  server.Start();
  FakeWorker worker(server.coordinator().worker_address(), {.credits = 0, .held = {AttemptOf(assign)}});
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(assign), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED);
}

TEST(RecoveryTest, ACommitNeedsNoSession) {
  RunningServer server;
  server.CreateTinyJob();
  v1::Assign assign;
  std::vector<v1::TaskBlob> outputs;
  {
    FakeWorker worker(server.coordinator().worker_address());
    assign = worker.AwaitAssign();
    outputs = worker.Produce(assign.task());
  }
  server.Stop();
  server.Start();
  FakeWorker other(server.coordinator().worker_address(), {.id = "other", .credits = 0});
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(other.Complete(AttemptOf(assign), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED);
}

TEST(RecoveryTest, UnknownHeldAttemptsAreDropped) {
  RunningServer server;
  v1::AttemptRef unknown;
  unknown.set_task("jobs/nothing/tasks/prepare");
  unknown.set_token("1.1.x");
  FakeWorker worker(server.coordinator().worker_address(), {.held = {unknown}});
  EXPECT_EQ(worker.AwaitDrop().attempt().token(), "1.1.x");
}

TEST(RecoveryTest, UnclaimedTasksWaitForOneLease) {
  FakeClock clock;
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  std::string token;
  {
    FakeWorker worker(server.coordinator().worker_address(), {.id = "gone"});
    token = worker.AwaitAssign().token();
    server.Stop();
  }
  server.Start();
  EXPECT_EQ(server.GetJob(name).progress().stages(0).tasks_running(), 1);
  clock.Advance(options.lease);
  server.AwaitJob(name, [](const v1::Job& job) { return job.progress().stages(0).tasks_running() == 0; });
  clock.Advance(absl::Seconds(1));
  FakeWorker other(server.coordinator().worker_address(), {.id = "other"});
  EXPECT_NE(other.AwaitAssign().token(), token);
}

TEST(RecoveryTest, AJobGoesOnWhereItWas) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  {
    FakeWorker worker(server.coordinator().worker_address());
    worker.Fail(worker.RunUntil("allocate"), v1::FailTaskRequest::DRAINED);
    server.Stop();
  }
  server.Start();
  FakeWorker worker(server.coordinator().worker_address(), {.id = "w2"});
  const int ran = worker.RunToEnd();
  EXPECT_LE(ran, 6);  // allocate, verdict, three evaluations, publish
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST(RecoveryTest, TheTermGrows) {
  RunningServer server;
  const int64_t term = FakeWorker(server.coordinator().worker_address()).welcome().term();
  server.Stop();
  server.Start();
  EXPECT_EQ(FakeWorker(server.coordinator().worker_address()).welcome().term(), term + 1);
}

}  // namespace
}  // namespace quantmoe
