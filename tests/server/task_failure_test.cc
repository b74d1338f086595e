// What a failed, stale or lost attempt costs.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

CoordinatorOptions WithClock(const FakeClock& clock) {
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.clock = &clock;
  return options;
}

class FailureClassTest : public testing::TestWithParam<v1::FailTaskRequest::FailureClass> {};

TEST_P(FailureClassTest, FailsTheJobAtOnce) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.Fail(worker.AwaitAssign(), GetParam());
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_THAT(job.error().message(), testing::HasSubstr("task prepare: broken on purpose"));
}

INSTANTIATE_TEST_SUITE_P(HopelessClasses, FailureClassTest,
                         testing::Values(v1::FailTaskRequest::PERMANENT, v1::FailTaskRequest::NUMERIC));

// Fails the first task until its job fails; how often that took.
int AttemptsUntilFailure(v1::FailTaskRequest::FailureClass failure_class) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  for (int attempts = 1; attempts < 20; ++attempts) {
    worker.Fail(worker.AwaitAssign(), failure_class);
    const v1::Job job = server.AwaitJob(name, [](const v1::Job& j) { return j.progress().workers() == 0; });
    if (job.state() == v1::Job::FAILED) return attempts;
    // Past the backoff, in steps that keep the worker's lease.
    for (int i = 0; i < 8; ++i) {
      clock.Advance(absl::Seconds(8));
      worker.Heartbeat({}, attempts * 100 + i);
    }
    worker.SetCredits(1);
  }
  return -1;
}

TEST(TaskFailureTest, MemoryIsRetriedTwice) {
  EXPECT_EQ(AttemptsUntilFailure(v1::FailTaskRequest::OUT_OF_MEMORY), 3);
}

TEST(TaskFailureTest, InfrastructureIsRetriedFiveTimes) {
  EXPECT_EQ(AttemptsUntilFailure(v1::FailTaskRequest::INFRASTRUCTURE), 6);
}

TEST(TaskFailureTest, DrainedAttemptsAreFreeAndNoLosses) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  for (int i = 0; i < 10; ++i) {
    worker.Fail(worker.AwaitAssign(), v1::FailTaskRequest::DRAINED);
    worker.SetCredits(1);
  }
  EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
  v1::ListJobEventsRequest request;
  request.set_name(name);
  v1::ListJobEventsResponse events;
  ASSERT_TRUE(server.jobs().ListJobEvents(WithDeadline().get(), request, &events).ok());
  int returned = 0;
  for (const v1::JobEvent& event : events.events()) {
    if (event.has_task_changed()) returned += event.task_changed().outcome() == v1::TaskChanged::RETURNED;
  }
  EXPECT_EQ(returned, 10);
}

// Until the server has seen that the worker's stream is gone.
void AwaitDisconnected(RunningServer& server, const std::string& worker) {
  for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
    v1::ListWorkersResponse workers;
    ASSERT_TRUE(server.system().ListWorkers(WithDeadline().get(), {}, &workers).ok());
    for (const v1::Worker& known : workers.workers()) {
      if (known.id() == worker && known.state() == v1::Worker::SUSPECT) return;
    }
  }
  FAIL() << worker << " is still connected";
}

TEST(TaskFailureTest, ATaskThatKillsItsWorkersEndsItsJob) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  for (const std::string id : {"a", "b", "c"}) {
    EXPECT_EQ(server.GetJob(name).state() == v1::Job::FAILED, false) << "before " << id << " died";
    {
      FakeWorker worker(server.coordinator().worker_address(), {.id = id});
      const v1::Assign assign = worker.AwaitAssign();
      EXPECT_EQ(LabelOf(assign), "prepare");
      worker.Acknowledge(AttemptOf(assign));
      worker.Heartbeat({AttemptOf(assign)}, 1);
    }
    AwaitDisconnected(server, id);
    clock.Advance(absl::Seconds(30));
    server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
    clock.Advance(absl::Seconds(10));  // the backoff
  }
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_THAT(FromRpcStatus(job.error()), HasReason("TASK_KILLS_WORKERS"));
  EXPECT_THAT(job.error().message(),
              testing::HasSubstr("task prepare: 3 workers died while they ran it: a, b, c"));
}

// A worker of this id takes the first task, which takes it down.
void DieOfTheFirstTask(RunningServer& server, const std::string& id, const std::string& instance) {
  {
    FakeWorker worker(server.coordinator().worker_address(), {.id = id, .instance = instance});
    const v1::Assign assign = worker.AwaitAssign();
    worker.Acknowledge(AttemptOf(assign));
    worker.Heartbeat({AttemptOf(assign)}, 1);
  }
  AwaitDisconnected(server, id);
}

TEST(TaskFailureTest, OneWorkerThatIsStartedAgainIsEnoughToFindAPoisonousTask) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  for (const std::string instance : {"1", "2", "3"}) {
    DieOfTheFirstTask(server, "only", instance);
    clock.Advance(absl::Seconds(30));
    server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
    clock.Advance(absl::Seconds(10));  // the backoff
  }
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_THAT(FromRpcStatus(job.error()), HasReason("TASK_KILLS_WORKERS"));
  EXPECT_THAT(job.error().message(), testing::HasSubstr("a worker died 3 times while it ran it: only"));
}

TEST(TaskFailureTest, TwoDeadWorkersAndNoOtherEndTheJob) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  for (const std::string id : {"a", "b"}) {
    DieOfTheFirstTask(server, id, id);
    clock.Advance(absl::Seconds(30));
    server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
    clock.Advance(absl::Seconds(10));  // the backoff
  }
  const v1::Job waiting = server.AwaitJob(
      name, [](const v1::Job& job) { return job.waiting().cause() == v1::Waiting::WORKERS_DIED; });
  EXPECT_EQ(waiting.waiting().reason(), "no worker is connected; 2 died while running prepare: a, b");
  EXPECT_EQ(waiting.state_reason(), waiting.waiting().reason());
  EXPECT_EQ(waiting.state(), v1::Job::RUNNING);
  clock.Advance(absl::Minutes(1));
  EXPECT_THAT(FromRpcStatus(server.AwaitEnd(name).error()), HasReason("TASK_KILLS_WORKERS"));
}

TEST(TaskFailureTest, AWatchIsToldAtOnceWhenTheLastWorkerDies) {
  FakeClock clock;  // stands still: no lease runs out
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  DieOfTheFirstTask(server, "a", "1");
  v1::WatchJobRequest request;
  request.set_name(name);
  const auto context = WithDeadline();
  const auto watch = server.jobs().WatchJob(context.get(), request);
  v1::JobEvent event;
  while (event.waiting().cause() != v1::Waiting::WORKERS_DIED && watch->Read(&event)) {
  }
  EXPECT_EQ(event.waiting().reason(), "no worker is connected; 1 died while running prepare: a");
  EXPECT_TRUE(event.waiting().has_since());
  FakeWorker other(server.coordinator().worker_address(), {.id = "b"});
  while ((!event.has_waiting() || event.waiting().cause() == v1::Waiting::WORKERS_DIED) &&
         watch->Read(&event)) {
  }
  EXPECT_EQ(event.waiting().cause(), v1::Waiting::WORKERS_SILENT) << "the lease of the dead one goes on";
  context->TryCancel();
  (void)watch->Finish();
}

TEST(TaskFailureTest, LeasesAndRestartsSpendNoAttempts) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  for (int i = 0; i < 8; ++i) {
    FakeWorker worker(server.coordinator().worker_address(), {.id = absl::StrCat("w", i)});
    EXPECT_EQ(LabelOf(worker.AwaitAssign()), "prepare");
    if (i % 2 == 0) {
      clock.Advance(absl::Seconds(30));  // it is silent for a lease
    } else {
      server.Stop();
      server.Start();
      clock.Advance(absl::Seconds(30));  // it does not come back
    }
    server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
  }
  FakeWorker worker(server.coordinator().worker_address(), {.id = "last"});
  worker.RunToEnd();
  EXPECT_EQ(server.AwaitEnd(name).state(), v1::Job::SUCCEEDED);
}

TEST(TaskFailureTest, TheFullDiskOfOneWorkerEndsNoJobThatAnotherCanDo) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  const std::string name = server.CreateTinyJob();
  FakeWorker full(server.coordinator().worker_address(), {.id = "full", .credits = 1});
  v1::Assign assign = full.AwaitAssign();
  FakeWorker good(server.coordinator().worker_address(), {.id = "good", .credits = 0});
  full.Fail(assign, MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room in scratch"));
  full.SetCredits(1);
  server.AwaitJob(name, [](const v1::Job& job) { return job.progress().workers() == 0; });
  clock.Advance(absl::Seconds(2));  // the backoff
  full.Heartbeat({}, 1);
  good.Heartbeat({}, 1);
  good.SetCredits(1);
  EXPECT_EQ(LabelOf(good.AwaitAssign()), "prepare");
}

TEST(TaskFailureTest, AJobThatNoWorkerCanTakeSaysSoAndEnds) {
  FakeClock clock;
  CoordinatorOptions options = WithClock(clock);
  options.unschedulable_timeout = absl::Hours(1);
  RunningServer server(options);
  const std::string name = server.CreateTinyJob();
  FakeWorker small(server.coordinator().worker_address(), {.memory_bytes = 1});
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (!absl::StrContains(server.GetJob(name).state_reason(), "the largest worker has 1") &&
         absl::Now() < end) {
  }
  EXPECT_EQ(server.GetJob(name).state(), v1::Job::QUEUED);
  clock.Advance(absl::Hours(1));
  const v1::Job job = server.AwaitEnd(name);
  EXPECT_EQ(job.state(), v1::Job::FAILED);
  EXPECT_THAT(FromRpcStatus(job.error()), HasReason("NO_CAPABLE_WORKER"));
  EXPECT_THAT(job.state_reason(), testing::HasSubstr("no worker could take a task for 1h"));
}

TEST(TaskFailureTest, ARepeatedCommitIsRecognised) {
  RunningServer server;
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign assign = worker.AwaitAssign();
  const auto outputs = worker.Produce(assign.task());
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(worker.Complete(AttemptOf(assign), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED);
  ASSERT_TRUE(worker.Complete(AttemptOf(assign), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::ALREADY_COMMITTED);
}

TEST(TaskFailureTest, AResultOfAnotherDeterminismClassIsRefusedAndTheAttemptGoesOn) {
  RunningServer server;
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign assign = worker.AwaitAssign();
  const auto outputs = worker.Produce(assign.task());
  FakeWorker other(server.coordinator().worker_address(),
                   {.id = "other", .determinism_class = "another-class", .credits = 0});
  v1::CompleteTaskResponse::Outcome outcome;
  EXPECT_THAT(
      FromGrpcStatus(other.Complete(AttemptOf(assign), outputs, &outcome)),
      testing::AllOf(StatusIs(absl::StatusCode::kInvalidArgument), HasReason("DETERMINISM_CLASS_MISMATCH")));
  ASSERT_TRUE(worker.Complete(AttemptOf(assign), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::COMMITTED);
}

TEST(TaskFailureTest, AResultThatIsNotStoredIsNotCommitted) {
  RunningServer server;
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  const v1::Assign assign = worker.AwaitAssign();
  v1::TaskBlob missing;
  missing.set_role("summary");
  missing.mutable_digest()->set_sha256(std::string(64, 'a'));
  v1::CompleteTaskResponse::Outcome outcome;
  EXPECT_THAT(FromGrpcStatus(worker.Complete(AttemptOf(assign), {missing}, &outcome)),
              HasReason("BLOB_NOT_FOUND"));
}

TEST(TaskFailureTest, AWorkerWhoseLeaseRanOutCannotCommit) {
  FakeClock clock;
  RunningServer server(WithClock(clock));
  server.CreateTinyJob();
  FakeWorker zombie(server.coordinator().worker_address(), {.id = "zombie"});
  const v1::Assign old = zombie.AwaitAssign();
  const auto outputs = zombie.Produce(old.task());
  clock.Advance(absl::Seconds(30));
  EXPECT_EQ(zombie.AwaitEnd().error_code(), grpc::StatusCode::ABORTED);
  clock.Advance(absl::Seconds(1));  // the backoff after a lost worker
  FakeWorker other(server.coordinator().worker_address(), {.id = "other"});
  const v1::Assign current = other.AwaitAssign();
  EXPECT_EQ(LabelOf(current), "prepare");
  EXPECT_NE(current.token(), old.token());
  v1::CompleteTaskResponse::Outcome outcome;
  ASSERT_TRUE(zombie.Complete(AttemptOf(old), outputs, &outcome).ok());
  EXPECT_EQ(outcome, v1::CompleteTaskResponse::STALE);
  other.Finish(current);
}

TEST(TaskFailureTest, AStuckTaskIsTakenAway) {
  FakeClock clock;
  CoordinatorOptions options = WithClock(clock);
  options.no_progress_timeout = absl::Seconds(20);
  RunningServer server(options);
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address(), {.credits = 2});
  const v1::Assign assign = worker.AwaitAssign();
  worker.Heartbeat({AttemptOf(assign)}, /*progress_ticks=*/1);
  for (int i = 0; i < 2; ++i) {
    clock.Advance(absl::Seconds(10));
    v1::WorkerMessage same;
    auto& running = *same.mutable_heartbeat()->add_running();
    *running.mutable_attempt() = AttemptOf(assign);
    running.set_progress_ticks(1);
    worker.Write(same);
  }
  EXPECT_EQ(worker.AwaitCancel().reason(), "no progress");
}

TEST(TaskFailureTest, AJobWaitsForItsDeterminismClass) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  {
    FakeWorker first(server.coordinator().worker_address(), {.id = "first", .determinism_class = "avx2"});
    first.Finish(first.AwaitAssign());
    v1::WorkerMessage goodbye;
    goodbye.mutable_goodbye();
    first.Write(goodbye);
    EXPECT_TRUE(first.AwaitEnd().ok());
  }
  FakeWorker other(server.coordinator().worker_address(), {.id = "other", .determinism_class = "avx512"});
  const v1::Job job = server.AwaitJob(name, [](const v1::Job& j) {
    return j.state_reason().find("determinism class avx2") != std::string::npos;
  });
  EXPECT_EQ(job.state(), v1::Job::RUNNING);
}

}  // namespace
}  // namespace quantmoe
