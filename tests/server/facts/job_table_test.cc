#include "server/facts/job_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

server::TaskDefinition Define(const std::string& label, const std::vector<std::string>& producers) {
  server::TaskDefinition definition;
  definition.set_label(label);
  definition.set_kind("forward");
  for (const std::string& producer : producers) {
    definition.add_inputs()->set_producer(producer);
    definition.add_inputs()->set_producer(producer);  // two inputs from one task count once
  }
  return definition;
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
  EXPECT_EQ(task("a").height, 3);
  EXPECT_EQ(task("b").height, 2);
  EXPECT_EQ(task("d").height, 1);
}

TEST_F(JobTableTest, ATaskIsUnblockedByItsLastProducer) {
  EXPECT_EQ(task("d").unmet, 2);
  for (const char* label : {"a", "b"}) {
    Ready(label);
    Start(label);
    Finish(label);
  }
  EXPECT_EQ(task("c").unmet, 0);
  EXPECT_EQ(task("d").unmet, 1);
}

TEST_F(JobTableTest, CountersFollowTheStates) {
  Ready("a");
  Start("a");
  EXPECT_EQ(job().stages.at("forward").running, 1);
  Finish("a");
  EXPECT_EQ(job().stages.at("forward").running, 0);
  EXPECT_EQ(job().stages.at("forward").done, 1);
  EXPECT_DOUBLE_EQ(job().stages.at("forward").seconds, 2);
  EXPECT_EQ(job().stages.at("forward").total, 4);
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
  EXPECT_EQ(task("a").record.reopened(), 1);
  EXPECT_EQ(task("b").record.state(), v1::Task::BLOCKED);
  EXPECT_EQ(task("c").record.state(), v1::Task::RUNNING);
  table_.Apply(TaskReleased{.job = "job", .task = "c"});
  EXPECT_EQ(task("c").record.state(), v1::Task::BLOCKED) << "its input is gone";
  Ready("a");
  Start("a");
  Finish("a");
  EXPECT_EQ(task("b").unmet, 0);
  EXPECT_EQ(task("c").unmet, 0);
  EXPECT_EQ(job().stages.at("forward").done, 1);
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
  for (const Task& row : job().tasks) rows.emplace_back(row.definition, row.record);
  JobTable loaded;
  loaded.Load(job().record, rows);
  EXPECT_TRUE(loaded.FindTask("job", "a")->awaits_lookup);
  EXPECT_FALSE(loaded.FindTask("job", "b")->awaits_lookup);
  EXPECT_THAT(loaded.Apply(TaskLookedUp{"job", "a"}).tasks, IsEmpty()) << "nothing to store";
  EXPECT_FALSE(loaded.FindTask("job", "a")->awaits_lookup);
}

TEST_F(JobTableTest, LoadingStoredRowsGivesTheSameFacts) {
  Ready("a", "key");
  Start("a");
  std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> rows;
  for (const Task& row : job().tasks) rows.emplace_back(row.definition, row.record);
  JobTable loaded;
  loaded.Load(job().record, rows);
  EXPECT_TRUE(loaded.KeyIsRunning("key"));
  EXPECT_THAT(loaded.RunningOn("w"), ElementsAre(TaskRef{"job", "a"}));
  EXPECT_EQ(loaded.FindTask("job", "d")->unmet, 2);
}

}  // namespace
}  // namespace quantmoe
