#include "server/decide/waiting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using testing::HasSubstr;

// A job of the ready tasks solve-l0-p0 and solve-l0-p1.
class WaitingTest : public testing::Test {
 protected:
  WaitingTest() {
    JobCreated created;
    created.record.set_id("a");
    created.record.set_create_number(1);
    created.record.set_state(v1::Job::RUNNING);
    created.record.set_determinism_class("c1");
    created.record.set_expanded(true);
    for (const char* label : {"solve-l0-p0", "solve-l0-p1"}) {
      created.tasks.push_back({label, TaskKind::kSolve, "", {}});
    }
    jobs_.Apply(created);
    for (const char* label : {"solve-l0-p0", "solve-l0-p1"}) jobs_.Apply(TaskReady{"a", label, "", now_});
  }

  void AddWorker(const std::string& id) {
    WorkerFacts& worker = workers_[id];
    worker.id = id;
    worker.determinism_class = "c1";
    worker.last_heard = now_;
  }
  void Start(const std::string& task, const std::string& worker) {
    jobs_.Apply(TaskStarted{"a", task, worker, "token", absl::UnixEpoch(), now_});
    jobs_.Apply(TaskAcknowledged{"a", task});
  }
  void Done(const std::string& task) {
    jobs_.Apply(TaskDone{"a", task, {}, /*cached=*/false, /*seconds=*/0, absl::UnixEpoch()});
  }
  // The connection broke; the lease goes on.
  void Break(const std::string& worker) { workers_[worker].connected = false; }
  // The lease of a broken connection ran out.
  void Lose(const std::string& task, const std::string& worker) {
    workers_.erase(worker);
    TaskReleased released{.job = "a", .task = task, .charge = Charge::kFault};
    released.killed_worker = worker;
    jobs_.Apply(released);
  }
  WaitingReason Explain() { return ExplainWaiting(*jobs_.Find("a"), jobs_, workers_, limits_, now_); }

  JobTable jobs_;
  WorkerTable workers_;
  SchedulingLimits limits_;
  absl::Duration now_ = absl::Hours(1);
};

TEST_F(WaitingTest, NothingIsInTheWayOfAJobThatRuns) {
  AddWorker("w1");
  Start("solve-l0-p0", "w1");
  EXPECT_EQ(Explain().cause, v1::Waiting::CAUSE_UNSPECIFIED);
  EXPECT_EQ(Explain().reason, "");
}

TEST_F(WaitingTest, AJobWithoutWorkersSaysSo) {
  EXPECT_EQ(Explain().cause, v1::Waiting::NO_WORKER);
  EXPECT_EQ(Explain().reason, "no worker is connected");
}

TEST_F(WaitingTest, WorkersThatDieAreNamedBeforeTheirLeasesEnd) {
  AddWorker("w1");
  AddWorker("w2");
  Start("solve-l0-p0", "w1");
  Start("solve-l0-p1", "w2");
  Break("w1");
  EXPECT_EQ(Explain().cause, v1::Waiting::CAUSE_UNSPECIFIED) << "the other one runs";
  Break("w2");
  EXPECT_EQ(Explain().cause, v1::Waiting::WORKERS_DIED);
  EXPECT_EQ(Explain().reason,
            "no worker is connected; 2 died while running solve-l0-p0, solve-l0-p1: w1, w2");
}

TEST_F(WaitingTest, TheDeadOfOneTaskAreCountedOverItsAttempts) {
  AddWorker("w1");
  Start("solve-l0-p0", "w1");
  Lose("solve-l0-p0", "w1");
  AddWorker("w2");
  Start("solve-l0-p0", "w2");
  EXPECT_EQ(Explain().cause, v1::Waiting::CAUSE_UNSPECIFIED);
  Break("w2");
  EXPECT_EQ(Explain().reason, "no worker is connected; 2 died while running solve-l0-p0: w1, w2");
  Lose("solve-l0-p0", "w2");
  EXPECT_EQ(Explain().reason, "no worker is connected; 2 died while running solve-l0-p0: w1, w2");
  EXPECT_EQ(Explain().cause, v1::Waiting::WORKERS_DIED);
}

TEST_F(WaitingTest, AWorkerThatLeftInPeaceMeansThatOthersMayCome) {
  AddWorker("w1");
  AddWorker("w2");
  Start("solve-l0-p0", "w1");
  Done("solve-l0-p0");
  workers_.erase("w1");
  Start("solve-l0-p1", "w2");
  Lose("solve-l0-p1", "w2");
  EXPECT_EQ(Explain().cause, v1::Waiting::NO_WORKER);
  EXPECT_EQ(Explain().reason, "no worker is connected; 1 died while running solve-l0-p1: w2");
}

TEST_F(WaitingTest, ManyNamesAreCounted) {
  for (const char* id : {"w1", "w2", "w3", "w4", "w5"}) {
    AddWorker(id);
    Start("solve-l0-p0", id);
    Lose("solve-l0-p0", id);
  }
  EXPECT_THAT(Explain().reason, HasSubstr("5 died while running solve-l0-p0: w1, w2, w3 and 2 more"));
}

TEST_F(WaitingTest, ASilentWorkerIsNamed) {
  AddWorker("w1");
  AddWorker("idle");
  Start("solve-l0-p0", "w1");
  Start("solve-l0-p1", "w1");
  workers_["w1"].last_heard = now_ - 2 * limits_.heartbeat;
  EXPECT_EQ(Explain().cause, v1::Waiting::WORKERS_SILENT);
  EXPECT_THAT(Explain().reason, HasSubstr("not heard of: w1"));
}

TEST_F(WaitingTest, WorkersThatDrainAreNotAbsent) {
  AddWorker("w1");
  workers_["w1"].draining = true;
  EXPECT_EQ(Explain().reason, "every worker that is connected drains");
}

TEST_F(WaitingTest, ATaskThatMayRunHidesOneThatWaitsForItsTime) {
  AddWorker("w1");
  TaskReleased released{.job = "a", .task = "solve-l0-p0", .charge = Charge::kFault};
  released.run_after = now_ + absl::Minutes(1);
  Start("solve-l0-p0", "w1");
  jobs_.Apply(released);
  EXPECT_EQ(Explain().cause, v1::Waiting::WORKERS_BUSY);
  Start("solve-l0-p1", "w1");
  Done("solve-l0-p1");
  EXPECT_EQ(Explain().reason, "waits before the next attempt of solve-l0-p0");
}

TEST_F(WaitingTest, ALookUpIsAStepOfTheCoordinator) {
  AddWorker("w1");
  jobs_.Apply(TaskReady{"a", "solve-l0-p0", "key", now_, /*awaits_lookup=*/true});
  EXPECT_EQ(Explain().cause, v1::Waiting::WORKERS_BUSY) << "the other task could run";
  Start("solve-l0-p1", "w1");
  Done("solve-l0-p1");
  EXPECT_EQ(Explain().cause, v1::Waiting::COORDINATOR);
  EXPECT_EQ(Explain().reason, "the coordinator looks for results of equal tasks");
}

TEST_F(WaitingTest, StepsOfTheCoordinatorAreNamed) {
  AddWorker("w1");
  for (const char* label : {"solve-l0-p0", "solve-l0-p1"}) {
    Start(label, "w1");
    Done(label);
  }
  EXPECT_EQ(Explain().cause, v1::Waiting::COORDINATOR);
}

}  // namespace
}  // namespace quantmoe
