#include "server/facts/job_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/facts/task_rows.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TaskDefinition Define(const std::string& label, const std::vector<std::string>& producers) {
  TaskDefinition task{label, TaskKind::kForward, "", {}};
  for (const std::string& producer : producers) task.inputs.push_back(FromTask("in", producer, "out"));
  return task;
}

JobCreated Diamond(const std::string& id) {
  JobCreated created;
  created.record.set_id(id);
  created.record.set_create_number(1);
  created.record.set_state(v1::Job::RUNNING);
  created.record.set_determinism_class("class");
  created.tasks = {Define("a", {}), Define("b", {"a"}), Define("c", {"a"}), Define("d", {"b", "c"})};
  return created;
}

class JobTableTest : public testing::Test {
 protected:
  JobTableTest() { table_.Apply(Diamond("job")); }
  const Job& job() { return *table_.Find("job"); }
  const Task& task(const std::string& label) { return *table_.FindTask("job", label); }
  void Ready(const std::string& label, const std::string& key = "") {
    table_.Apply(TaskReady{"job", label, key, absl::ZeroDuration()});
  }
  void Start(const std::string& label, const std::string& worker = "w") {
    table_.Apply(
        TaskStarted{"job", label, worker, "token-" + label, absl::UnixEpoch(), absl::ZeroDuration()});
  }
  void Finish(const std::string& label) {
    table_.Apply(TaskDone{"job", label, {}, /*cached=*/false, /*seconds=*/2, absl::UnixEpoch()});
  }
  JobTable table_;
};

TEST_F(JobTableTest, HeightIsTheLongestWayToTheEnd) {
  EXPECT_EQ(task("a").node->height, 3);
  EXPECT_EQ(task("b").node->height, 2);
  EXPECT_EQ(task("d").node->height, 1);
}

TEST_F(JobTableTest, ATaskIsUnblockedByItsLastProducer) {
  EXPECT_EQ(task("d").node->unmet, 2);
  for (const char* label : {"a", "b"}) {
    Ready(label);
    Start(label);
    Finish(label);
  }
  EXPECT_EQ(task("c").node->unmet, 0);
  EXPECT_EQ(task("d").node->unmet, 1);
}

TEST_F(JobTableTest, CountersFollowTheStates) {
  Ready("a");
  Start("a");
  EXPECT_EQ(job().stages.at(TaskKind::kForward).running, 1);
  Finish("a");
  EXPECT_EQ(job().stages.at(TaskKind::kForward).running, 0);
  EXPECT_EQ(job().stages.at(TaskKind::kForward).done, 1);
  EXPECT_DOUBLE_EQ(job().stages.at(TaskKind::kForward).seconds, 2);
  EXPECT_EQ(job().stages.at(TaskKind::kForward).total, 4);
}

TEST_F(JobTableTest, ReleaseChargesOnlyTheNamedBudget) {
  Ready("a");
  Start("a");
  TaskReleased released{.job = "job", .task = "a", .charge = Charge::kMemory};
  released.exhausted_memory_bytes = 7;
  table_.Apply(released);
  EXPECT_EQ(task("a").record.state(), v1::Task::READY);
  EXPECT_EQ(task("a").record.memory_failures(), 1);
  EXPECT_EQ(Faults(task("a").record) + Shortages(task("a").record), 0);
  EXPECT_EQ(task("a").record.exhausted_memory_bytes(), 7);
  EXPECT_EQ(task("a").record.token(), "");
}

TEST_F(JobTableTest, AReopenedTaskBlocksWhatWaitsForItAndNothingElse) {
  Ready("a");
  Start("a");
  Finish("a");
  Ready("b");
  Ready("c");
  Start("c");
  table_.Apply(TaskReopened{"job", "a"});
  EXPECT_EQ(task("a").record.state(), v1::Task::BLOCKED);
  EXPECT_EQ(task("a").reopened(), 1);
  EXPECT_EQ(task("b").record.state(), v1::Task::BLOCKED);
  EXPECT_EQ(task("c").record.state(), v1::Task::RUNNING);
  table_.Apply(TaskReleased{.job = "job", .task = "c"});
  EXPECT_EQ(task("c").record.state(), v1::Task::BLOCKED) << "its input is gone";
  Ready("a");
  Start("a");
  Finish("a");
  EXPECT_EQ(task("b").node->unmet, 0);
  EXPECT_EQ(task("c").node->unmet, 0);
  EXPECT_EQ(job().stages.at(TaskKind::kForward).done, 1);
}

TEST_F(JobTableTest, KeysOfRunningTasksAreKnownUntilTheyEnd) {
  Ready("a", "key");
  EXPECT_THAT(table_.ReadyWithKey("key"), ElementsAre(TaskRef{"job", "a"}));
  Start("a");
  EXPECT_TRUE(table_.KeyIsRunning("key"));
  EXPECT_THAT(table_.ReadyWithKey("key"), IsEmpty());
  Finish("a");
  EXPECT_FALSE(table_.KeyIsRunning("key"));
}

TEST_F(JobTableTest, CancellingLeavesOnlyRunningTasks) {
  Ready("a");
  Start("a");
  table_.Apply(JobStateChanged{.job = "job", .state = v1::Job::CANCELLING});
  EXPECT_EQ(task("a").record.state(), v1::Task::RUNNING);
  EXPECT_EQ(task("b").record.state(), v1::Task::CANCELLED);
  table_.Apply(JobStateChanged{.job = "job", .state = v1::Job::CANCELLED});
  EXPECT_EQ(task("a").record.state(), v1::Task::CANCELLED);
  EXPECT_THAT(table_.RunningOn("w"), IsEmpty());
}

TEST_F(JobTableTest, DeletedJobsLeaveNoTrace) {
  Ready("a", "key");
  Start("a");
  table_.Apply(JobDeleted{"job"});
  EXPECT_EQ(table_.Find("job"), nullptr);
  EXPECT_FALSE(table_.KeyIsRunning("key"));
  EXPECT_THAT(table_.RunningOn("w"), IsEmpty());
  EXPECT_THAT(table_.by_number(), IsEmpty());
}

TEST_F(JobTableTest, ATaskThatIsReadyWhenItIsLoadedAwaitsItsLookUp) {
  Ready("a", "key");
  EXPECT_FALSE(task("a").awaits_lookup);
  std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> rows;
  for (const Task& row : job().tasks)
    rows.emplace_back(DefineTask(row.definition()), RowOf(*row.node, row.record));
  JobTable loaded;
  loaded.Load(job().record, rows, /*now=*/absl::Seconds(7));
  EXPECT_TRUE(loaded.FindTask("job", "a")->awaits_lookup);
  EXPECT_EQ(loaded.FindTask("job", "a")->ready_at, absl::Seconds(7)) << "not since the machine started";
  EXPECT_FALSE(loaded.FindTask("job", "b")->awaits_lookup);
  EXPECT_THAT(loaded.Apply(TaskLookedUp{"job", "a"}).tasks, IsEmpty()) << "nothing to store";
  EXPECT_FALSE(loaded.FindTask("job", "a")->awaits_lookup);
}

TEST_F(JobTableTest, LoadingStoredRowsGivesTheSameFacts) {
  v1::TaskBlob out;
  out.set_role("out");
  *out.mutable_digest() = ToProto(DigestOf("result"));
  Ready("a", "key of a");
  Start("a");
  table_.Apply(TaskDone{"job", "a", {out}, /*cached=*/true, /*seconds=*/2, absl::UnixEpoch()});
  table_.Apply(TaskReopened{"job", "a"});
  Ready("a", "key of a");
  table_.Apply(TaskDone{"job", "a", {out}, /*cached=*/true, /*seconds=*/2, absl::UnixEpoch()});
  Ready("b", "key");
  Start("b");
  Ready("c", "key of c");
  table_.Apply(TaskEnded{"job", "c", v1::Task::FAILED});
  std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> rows;
  for (const Task& row : job().tasks)
    rows.emplace_back(DefineTask(row.definition()), RowOf(*row.node, row.record));
  EXPECT_EQ(rows[0].second.outputs(0).digest().sha256(), DigestOf("result").sha256);
  EXPECT_EQ(rows[0].second.key(), "key of a");

  JobTable loaded;
  loaded.Load(job().record, rows);
  EXPECT_TRUE(loaded.KeyIsRunning("key"));
  EXPECT_THAT(loaded.RunningOn("w"), ElementsAre(TaskRef{"job", "b"}));
  const Job& again = *loaded.Find("job");
  EXPECT_EQ(again.stages.at(TaskKind::kForward).cached, 1);
  for (const Task& before : job().tasks) {
    const Task& after = again.tasks[before.index()];
    EXPECT_EQ(after.node->phase, before.node->phase) << before.label();
    EXPECT_EQ(after.node->unmet, before.node->unmet) << before.label();
    EXPECT_EQ(after.node->height, before.node->height) << before.label();
    EXPECT_EQ(after.reopened(), before.reopened()) << before.label();
    const size_t i = static_cast<size_t>(before.index());
    EXPECT_EQ(DefineTask(after.definition()).SerializeAsString(), rows[i].first.SerializeAsString());
    EXPECT_EQ(RowOf(*after.node, after.record).SerializeAsString(), rows[i].second.SerializeAsString());
  }
}

TEST_F(JobTableTest, TheRecordOfATaskIsInThePhaseOfItsNode) {
  const auto agree = [this] {
    for (const Task& one : job().tasks) {
      const TaskPhase phase = one.node->phase;
      const bool dropped = phase == TaskPhase::kDropped;
      const bool failed = dropped && one.record.state() == v1::Task::FAILED;
      EXPECT_EQ(one.record.state(), failed ? v1::Task::FAILED : StateOf(phase)) << one.label();
    }
  };
  Ready("a"), agree();
  Start("a"), agree();
  Finish("a"), agree();
  Ready("b"), Ready("c"), Start("c"), agree();
  table_.Apply(TaskReopened{"job", "a"}), agree();
  table_.Apply(TaskReleased{.job = "job", .task = "c"}), agree();
  table_.Apply(TaskEnded{"job", "c", v1::Task::FAILED}), agree();
  table_.Apply(JobStateChanged{.job = "job", .state = v1::Job::CANCELLED}), agree();
}

}  // namespace
}  // namespace quantmoe
