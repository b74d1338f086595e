#include "server/decide/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/decide/waiting.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SchedulerTest : public testing::Test {
 protected:
  // A job of `tasks` independent tasks t0, t1, ... that are all ready.
  void AddJob(const std::string& id, int tasks, int64_t memory_bytes = 10,
              const std::string& job_class = "c1") {
    JobCreated created;
    created.record.set_id(id);
    created.record.set_create_number(jobs_.next_number());
    created.record.set_state(v1::Job::RUNNING);
    created.record.set_determinism_class(job_class);
    for (int i = 0; i < tasks; ++i) {
      TaskDefinition& task = created.tasks.emplace_back();
      task.label = "t" + std::to_string(i);
      task.kind = TaskKind::kSolve;
      task.memory_bytes = memory_bytes;
    }
    jobs_.Apply(created);
    for (int i = 0; i < tasks; ++i) Ready(id, "t" + std::to_string(i), "");
  }
  void Ready(const std::string& job, const std::string& task, const std::string& key) {
    jobs_.Apply(TaskReady{job, task, key, absl::ZeroDuration()});
  }
  WorkerFacts& AddWorker(const std::string& id, int credits = 1, int64_t memory_bytes = 100,
                         const std::string& worker_class = "c1") {
    WorkerFacts worker;
    worker.id = id;
    worker.credits = credits;
    worker.memory_bytes = memory_bytes;
    worker.determinism_class = worker_class;
    worker.last_heard = now_;
    return workers_[id] = worker;
  }
  std::vector<Assignment> Assign() { return MakeSchedule(jobs_, workers_, limits_, now_).assignments; }
  // Assigns and starts, as the coordinator does.
  std::vector<Assignment> AssignAndStart() {
    const std::vector<Assignment> assigned = Assign();
    for (const Assignment& a : assigned) {
      jobs_.Apply(TaskStarted{a.job, a.task, a.worker, "token", absl::UnixEpoch(), now_});
      --workers_[a.worker].credits;
    }
    return assigned;
  }

  JobTable jobs_;
  WorkerTable workers_;
  SchedulingLimits limits_;
  absl::Duration now_ = absl::Hours(1);
};

TEST_F(SchedulerTest, NothingIsAssignedWithoutACredit) {
  AddJob("a", 3);
  AddWorker("w", /*credits=*/2);
  EXPECT_THAT(AssignAndStart(), SizeIs(2));
  EXPECT_THAT(Assign(), IsEmpty());
}

TEST_F(SchedulerTest, WorkSpreadsOverWorkers) {
  AddJob("a", 2);
  AddWorker("w1", /*credits=*/2);
  AddWorker("w2", /*credits=*/2);
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "w1"), Field(&Assignment::worker, "w2")));
}

TEST_F(SchedulerTest, JobsTakeTurns) {
  AddJob("a", 10);
  AddJob("b", 10);
  AddWorker("w", /*credits=*/4);
  int of_b = 0;
  for (const Assignment& assignment : AssignAndStart()) of_b += assignment.job == "b";
  EXPECT_EQ(of_b, 2);
}

TEST_F(SchedulerTest, TheJobServedLongestAgoComesFirst) {
  AddJob("a", 10);
  AddJob("b", 10);
  AddWorker("w", /*credits=*/1);
  EXPECT_THAT(AssignAndStart(), ElementsAre(Field(&Assignment::job, "a")));
  workers_["w"].credits = 1;
  EXPECT_THAT(AssignAndStart(), ElementsAre(Field(&Assignment::job, "b")));
}

TEST_F(SchedulerTest, TheLongestWayToTheEndComesFirst) {
  JobCreated created;
  created.record.set_id("a");
  created.record.set_create_number(1);
  created.record.set_state(v1::Job::RUNNING);
  created.record.set_determinism_class("c1");
  for (const char* label : {"short", "long", "after"}) {
    created.tasks.push_back({label, TaskKind::kSolve, "", {}});
  }
  created.tasks.back().inputs.push_back(FromTask("in", "long", "out"));
  jobs_.Apply(created);
  Ready("a", "short", "");
  Ready("a", "long", "");
  AddWorker("w");
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::task, "long")));
}

TEST_F(SchedulerTest, MemoryInUseCounts) {
  AddJob("a", 3, /*memory_bytes=*/40);
  AddWorker("w", /*credits=*/3, /*memory_bytes=*/100);
  EXPECT_THAT(AssignAndStart(), SizeIs(2));
  EXPECT_THAT(Assign(), IsEmpty());
}

TEST_F(SchedulerTest, AfterRunningOutOfMemoryALargerWorkerIsPreferred) {
  AddJob("a", 1);
  AddWorker("small", 1, 100);
  AddWorker("tall", 1, 200);
  ASSERT_THAT(AssignAndStart(), ElementsAre(Field(&Assignment::worker, "small")));
  TaskReleased released{.job = "a", .task = "t0", .charge = Charge::kMemory};
  released.exhausted_memory_bytes = 100;
  jobs_.Apply(released);
  workers_["small"].credits = 1;
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "tall")));
}

TEST_F(SchedulerTest, AJobStaysInItsClass) {
  AddJob("a", 1, 10, "c1");
  AddWorker("w", 1, 100, "c2");
  EXPECT_THAT(Assign(), IsEmpty());
  EXPECT_THAT(ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_).reason, HasSubstr("class c1"));
  EXPECT_TRUE(IsUnschedulable(ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_).cause));
  AddWorker("v", 1, 100, "c1");
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "v")));
}

TEST_F(SchedulerTest, AJobWithoutClassIsBoundBeforeItRuns) {
  AddJob("a", 1, 10, "");
  AddWorker("w", 1, 100, "c2");
  const Schedule schedule = MakeSchedule(jobs_, workers_, limits_, now_);
  EXPECT_THAT(schedule.assignments, IsEmpty());
  EXPECT_THAT(schedule.bindings, ElementsAre(Field(&Binding::determinism_class, "c2")));
}

TEST_F(SchedulerTest, EqualKeysRunOnce) {
  AddJob("a", 1);
  AddJob("b", 1);
  Ready("a", "t0", "key");
  Ready("b", "t0", "key");
  AddWorker("w", /*credits=*/2);
  EXPECT_THAT(AssignAndStart(), SizeIs(1));
  EXPECT_THAT(Assign(), IsEmpty());
}

TEST_F(SchedulerTest, WhatIsLookedForIsNotRunYet) {
  AddJob("a", 1);
  jobs_.Apply(TaskReady{"a", "t0", "key", absl::ZeroDuration(), /*awaits_lookup=*/true});
  AddWorker("w");
  EXPECT_THAT(Assign(), IsEmpty());
  jobs_.Apply(TaskLookedUp{"a", "t0"});
  EXPECT_THAT(Assign(), SizeIs(1));
}

TEST_F(SchedulerTest, DrainingSilentAndLostWorkersGetNothing) {
  AddJob("a", 3);
  AddWorker("w1").draining = true;
  AddWorker("w2").last_heard = now_ - 2 * limits_.heartbeat;
  AddWorker("w3").connected = false;
  EXPECT_THAT(Assign(), IsEmpty());
  EXPECT_EQ(ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_).reason,
            "every worker that is connected drains");
}

TEST_F(SchedulerTest, OnlyWhatNoWorkerCouldTakeIsUnschedulable) {
  AddJob("a", 1, /*memory_bytes=*/101);
  AddWorker("w", /*credits=*/1, /*memory_bytes=*/100);
  const WaitingReason waiting = ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_);
  EXPECT_TRUE(IsUnschedulable(waiting.cause));
  EXPECT_THAT(waiting.reason, HasSubstr("needs 101 bytes of memory, the largest worker has 100"));
  AddWorker("busy", /*credits=*/0, /*memory_bytes=*/101);
  EXPECT_FALSE(IsUnschedulable(ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_).cause));
}

TEST_F(SchedulerTest, TheReceivedTaskThatWasAssignedFirstIsSuspected) {
  AddJob("a", 3);
  for (int i = 2; i >= 0; --i) {
    now_ += absl::Seconds(1);
    jobs_.Apply(TaskStarted{"a", "t" + std::to_string(i), "w", "token", absl::UnixEpoch(), now_});
  }
  EXPECT_EQ(FindSuspect(jobs_, "w"), std::nullopt) << "none was received";
  jobs_.Apply(TaskAcknowledged{"a", "t0"});
  jobs_.Apply(TaskAcknowledged{"a", "t1"});
  EXPECT_EQ(FindSuspect(jobs_, "w"), (TaskRef{"a", "t1"}));
}

TEST_F(SchedulerTest, LeasesEndAfterTheirTime) {
  AddWorker("w").last_heard = now_ - limits_.lease + absl::Milliseconds(1);
  EXPECT_THAT(ExpiredWorkers(workers_, limits_, now_), IsEmpty());
  EXPECT_THAT(ExpiredWorkers(workers_, limits_, now_ + absl::Milliseconds(1)), ElementsAre("w"));
}

TEST_F(SchedulerTest, ATaskWaitsForItsNextAttempt) {
  AddJob("a", 1);
  AddWorker("w", 2);
  AssignAndStart();
  TaskReleased released{.job = "a", .task = "t0", .charge = Charge::kFault};
  released.run_after = now_ + RetryDelay(1);
  jobs_.Apply(released);
  EXPECT_THAT(Assign(), IsEmpty());
  now_ += absl::Seconds(1);
  EXPECT_THAT(Assign(), SizeIs(1));
}

// ---- Workers that failed a task

class FailingWorkersTest : public SchedulerTest {
 protected:
  FailingWorkersTest() { AddJob("a", 1); }
  // The task fails on the worker and is ready again.
  void Fail(const std::string& worker, Charge charge) {
    jobs_.Apply(TaskStarted{"a", "t0", worker, "token", absl::UnixEpoch(), now_});
    jobs_.Apply(TaskReleased{.job = "a", .task = "t0", .charge = charge});
  }
  bool Exhausted() {
    const Job& job = *jobs_.Find("a");
    return IsExhausted(job, job.tasks[0], workers_, limits_, now_);
  }
};

TEST_F(FailingWorkersTest, AWorkerIsKeptFromTheTaskThatItFailed) {
  AddWorker("bad");
  AddWorker("good", /*credits=*/0);
  Fail("bad", Charge::kShortage);
  EXPECT_THAT(Assign(), IsEmpty()) << "another could do it, as soon as it is free";
  workers_["good"].credits = 1;
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "good")));
}

TEST_F(FailingWorkersTest, ItGetsTheTaskAgainWhenNoOtherCouldDoIt) {
  AddWorker("bad");
  AddWorker("small", 1, /*memory_bytes=*/5);
  AddWorker("alien", 1, 100, "c2");
  AddWorker("draining").draining = true;
  Fail("bad", Charge::kFault);
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "bad")));
}

TEST_F(FailingWorkersTest, TheOneThatFailedItLessOftenComesFirst) {
  AddWorker("a");
  AddWorker("b");
  for (const char* worker : {"a", "a", "b"}) Fail(worker, Charge::kFault);
  EXPECT_THAT(Assign(), ElementsAre(Field(&Assignment::worker, "b")));
}

TEST_F(FailingWorkersTest, AWorkerRestsAfterShortages) {
  AddWorker("w").rests_until = now_ + absl::Seconds(1);
  EXPECT_THAT(Assign(), IsEmpty());
  now_ += absl::Seconds(1);
  EXPECT_THAT(Assign(), SizeIs(1));
}

TEST_F(FailingWorkersTest, FaultsAreHopelessWhenEveryWorkerHasMetOne) {
  AddWorker("a");
  for (int i = 0; i < 5; ++i) Fail("a", Charge::kFault);
  EXPECT_FALSE(Exhausted());
  Fail("a", Charge::kFault);
  EXPECT_TRUE(Exhausted());
  AddWorker("b");
  EXPECT_FALSE(Exhausted()) << "b may do it";
}

TEST_F(FailingWorkersTest, ShortagesCountByDifferentWorkersAndLeasesNotAtAll) {
  AddWorker("a");
  for (int i = 0; i < 50; ++i) Fail("a", Charge::kShortage);
  for (int i = 0; i < 50; ++i) Fail("x" + std::to_string(i), Charge::kNone);
  EXPECT_FALSE(Exhausted());
  for (const char* worker : {"b", "c", "d", "e"}) Fail(worker, Charge::kShortage);
  EXPECT_FALSE(Exhausted());
  Fail("f", Charge::kShortage);
  EXPECT_TRUE(Exhausted());
}

TEST(RetryDelayTest, DoublesUpToAMinute) {
  EXPECT_EQ(RetryDelay(1), absl::Seconds(1));
  EXPECT_EQ(RetryDelay(2), absl::Seconds(2));
  EXPECT_EQ(RetryDelay(5), absl::Seconds(16));
  EXPECT_EQ(RetryDelay(50), absl::Seconds(60));
}

}  // namespace
}  // namespace quantmoe
