#include "plan/graph/task_graph_state.h"

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::Pair;

constexpr char kClass[] = "cpu-x";

TaskDefinition Define(const std::string& label, const std::vector<std::string>& producers) {
  TaskDefinition task{label, TaskKind::kForward, "{}", {}};
  task.inputs.push_back(FromBlob("text", DigestOf("text")));
  for (const std::string& producer : producers) {
    task.inputs.push_back(FromTask(absl::StrCat("out of ", producer), producer, "out"));
    task.inputs.push_back(FromTask(absl::StrCat("counts of ", producer), producer, "counts"));
  }
  return task;
}

std::vector<BlobRef> Outputs(const std::string& label) {
  return {{"out", DigestOf("out of " + label)}, {"counts", DigestOf("counts of " + label)}};
}

// a; b and c read a; d reads b and c.
class TaskGraphStateTest : public testing::Test {
 protected:
  TaskGraphStateTest() {
    graph_.Apply(graph_event::Planned{{Define("a", {})}});
    graph_.Apply(graph_event::Planned{{Define("b", {"a"}), Define("c", {"a"}), Define("d", {"b", "c"})}});
  }
  const TaskNode& task(const std::string& label) { return *graph_.Find(label); }
  void Ready(const std::string& label) {
    ASSERT_OK_AND_ASSIGN(const std::string key, graph_.KeyOf(task(label), kClass));
    graph_.Apply(graph_event::Ready{task(label).index, key});
  }
  void Start(const std::string& label) { graph_.Apply(graph_event::Started{task(label).index}); }
  void Finish(const std::string& label, bool cached = false) {
    graph_.Apply(graph_event::Done{task(label).index, Outputs(label), cached});
  }
  void Run(const std::string& label) {
    Ready(label);
    Start(label);
    Finish(label);
  }
  TaskGraphState graph_;
};

TEST_F(TaskGraphStateTest, HeightIsTheLongestWayToTheEndAndGrowsWithThePlan) {
  TaskGraphState graph;
  graph.Apply(graph_event::Planned{{Define("a", {})}});
  EXPECT_EQ(graph.Find("a")->height, 1);
  EXPECT_THAT(graph.Apply(graph_event::Planned{{Define("b", {"a"}), Define("c", {"b"})}}), ElementsAre(1, 2));
  EXPECT_EQ(graph.Find("a")->height, 3);
  EXPECT_EQ(graph.Find("c")->height, 1);
}

TEST_F(TaskGraphStateTest, ATaskWaitsForEveryProducerOnceHoweverManyInputsItGives) {
  EXPECT_EQ(task("d").unmet, 2);
  EXPECT_TRUE(task("a").WaitsForNobody());
  EXPECT_FALSE(task("b").WaitsForNobody());
  Run("a");
  EXPECT_TRUE(task("b").WaitsForNobody());
  Run("b");
  EXPECT_EQ(task("d").unmet, 1);
  Run("c");
  EXPECT_TRUE(task("d").WaitsForNobody());
  EXPECT_EQ(graph_.done(), 3);
}

TEST_F(TaskGraphStateTest, TheLongestWayToTheEndIsTheMostUrgent) {
  TaskGraphState graph;
  graph.Apply(graph_event::Planned{{Define("short", {}), Define("long", {}), Define("after", {"long"})}});
  graph.Apply(graph_event::Ready{0});
  graph.Apply(graph_event::Ready{1});
  EXPECT_THAT(graph.ready(), ElementsAre(Pair(-2, 1), Pair(-1, 0)));
  graph.Apply(graph_event::Started{1});
  EXPECT_THAT(graph.ready(), ElementsAre(Pair(-1, 0)));
  EXPECT_THAT(graph.running(), ElementsAre(1));
  graph.Apply(graph_event::Released{1});
  EXPECT_THAT(graph.ready(), ElementsAre(Pair(-2, 1), Pair(-1, 0)));
}

TEST_F(TaskGraphStateTest, InputsAreTheResultsOfTheProducers) {
  Run("a");
  ASSERT_OK_AND_ASSIGN(const std::vector<BlobRef> inputs, graph_.InputsOf(task("b")));
  EXPECT_THAT(inputs, ElementsAre(Field(&BlobRef::role, "text"), Field(&BlobRef::role, "out of a"),
                                  Field(&BlobRef::role, "counts of a")));
  EXPECT_EQ(inputs[0].digest, DigestOf("text"));
  EXPECT_EQ(inputs[2].digest, DigestOf("counts of a"));
}

TEST_F(TaskGraphStateTest, AResultThatIsNotThereIsNamed) {
  for (const auto& status : {graph_.InputsOf(task("b")).status(), graph_.KeyOf(task("b"), kClass).status(),
                             graph_.OutputOf("a", "out").status()}) {
    EXPECT_EQ(GetErrorInfo(status).reason, "MISSING_OUTPUT");
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("task a gave no output out"));
  }
  EXPECT_EQ(GetErrorInfo(graph_.OutputOf("nobody", "out").status()).reason, "MISSING_OUTPUT");
}

TEST_F(TaskGraphStateTest, TheKeyIsThatOfKindParametersInputsAndClass) {
  Run("a");
  ASSERT_OK_AND_ASSIGN(const std::vector<BlobRef> inputs, graph_.InputsOf(task("b")));
  ASSERT_OK_AND_ASSIGN(const std::string key, graph_.KeyOf(task("b"), kClass));
  EXPECT_EQ(key, TaskKey(TaskKind::kForward, "{}", inputs, kClass));
  ASSERT_OK_AND_ASSIGN(const std::string unknown, graph_.KeyOf(task("b"), ""));
  EXPECT_EQ(unknown, "") << "nobody knows the key before the class";
}

TEST_F(TaskGraphStateTest, AReopenedTaskBlocksWhatWaitsForItAndNothingElse) {
  Run("a");
  Ready("b");
  Ready("c");
  Start("c");
  EXPECT_THAT(graph_.Apply(graph_event::Reopened{task("a").index}), ElementsAre(0, 1));
  EXPECT_EQ(task("a").phase, TaskPhase::kBlocked);
  EXPECT_THAT(task("a").outputs, IsEmpty());
  EXPECT_EQ(task("a").reopened, 1);
  EXPECT_EQ(task("b").phase, TaskPhase::kBlocked);
  EXPECT_EQ(task("c").phase, TaskPhase::kRunning);
  graph_.Apply(graph_event::Released{task("c").index});
  EXPECT_EQ(task("c").phase, TaskPhase::kBlocked) << "its input is gone";
  EXPECT_THAT(graph_.ready(), IsEmpty());
  Run("a");
  EXPECT_TRUE(task("b").WaitsForNobody());
  EXPECT_TRUE(task("c").WaitsForNobody());
  EXPECT_EQ(graph_.done(), 1);
}

TEST_F(TaskGraphStateTest, AResultThatIsGivenTwiceCountsOnce) {
  Run("a");
  Finish("a");
  EXPECT_EQ(task("b").unmet, 0);
  EXPECT_EQ(graph_.done(), 1);
}

TEST_F(TaskGraphStateTest, LostBlobsLeadToTheTaskThatMadeThem) {
  Run("a");
  Run("b");
  EXPECT_EQ(graph_.ProducerOf(DigestOf("counts of b").sha256), &task("b"));
  EXPECT_EQ(graph_.ProducerOf(DigestOf("text").sha256), nullptr) << "came with the job";
  graph_.Apply(graph_event::Reopened{task("b").index});
  EXPECT_EQ(graph_.ProducerOf(DigestOf("counts of b").sha256), nullptr) << "is being made";
}

TEST_F(TaskGraphStateTest, ResultsAreNeededUntilTheirLastReaderIsDoneAndThoseOfTheJobAlways) {
  TaskGraphState first;
  first.Apply(graph_event::Planned{{Define("a", {})}});
  EXPECT_TRUE(first.IsNeeded(*first.Find("a"))) << "the plan of the rest is made of it";
  for (const char* label : {"a", "b", "c"}) Run(label);
  EXPECT_FALSE(graph_.IsNeeded(task("a")));
  EXPECT_TRUE(graph_.IsNeeded(task("b")));
  Run("d");
  EXPECT_FALSE(graph_.IsNeeded(task("b")));
  EXPECT_TRUE(graph_.IsNeeded(task("d")));
}

TEST_F(TaskGraphStateTest, NodesStayWhereTheyAreWhenThePlanGrows) {
  TaskGraphState graph;
  graph.Apply(graph_event::Planned{{Define("t0", {})}});
  const TaskNode* first = graph.Find("t0");
  for (int i = 1; i < 1000; ++i) graph.Apply(graph_event::Planned{{Define(absl::StrCat("t", i), {})}});
  const TaskGraphState moved = std::move(graph);
  EXPECT_EQ(moved.Find("t0"), first);
}

// What the header says of unmet, dependents, ready, running and done, counted anew.
void ExpectSound(const TaskGraphState& graph) {
  std::set<std::pair<int, int>> ready;
  std::set<int> running;
  int done = 0;
  for (const TaskNode& task : graph.tasks()) {
    std::set<std::string> waits_for;
    for (const TaskInput& input : task.definition.inputs) {
      if (input.producer.empty() || graph.Find(input.producer)->phase == TaskPhase::kDone) continue;
      waits_for.insert(input.producer);
    }
    ASSERT_EQ(task.unmet, static_cast<int>(waits_for.size())) << task.definition.label;
    if (task.phase == TaskPhase::kReady) ready.insert({-task.height, task.index});
    if (task.phase == TaskPhase::kRunning) running.insert(task.index);
    done += task.phase == TaskPhase::kDone ? 1 : 0;
    ASSERT_EQ(task.outputs.empty(), task.phase != TaskPhase::kDone) << task.definition.label;
  }
  for (const auto& [height, index] : ready) ASSERT_EQ(graph.task(index).unmet, 0);
  ASSERT_EQ(graph.ready(), ready);
  ASSERT_EQ(graph.running(), running);
  ASSERT_EQ(graph.done(), done);
}

// Any event that fits, as coordinators apply them with workers that die and disks that lose blobs.
void Disturb(std::mt19937& random, TaskGraphState& graph) {
  const int index = static_cast<int>(random() % graph.tasks().size());
  const TaskNode& task = graph.task(index);
  if (task.WaitsForNobody()) {
    graph.Apply(graph_event::Ready{index, absl::StrCat("key of ", task.definition.label)});
  } else if (task.phase == TaskPhase::kReady) {
    graph.Apply(graph_event::Started{index});
  } else if (task.phase == TaskPhase::kRunning && random() % 3 == 0) {
    graph.Apply(graph_event::Released{index});
  } else if (task.phase == TaskPhase::kRunning) {
    graph.Apply(graph_event::Done{index, Outputs(task.definition.label), random() % 2 == 0});
  } else if (task.phase == TaskPhase::kDone && random() % 4 == 0) {
    graph.Apply(graph_event::Reopened{index});
  }
}

std::vector<TaskNode> Remembered(const TaskGraphState& graph) {
  std::vector<TaskNode> nodes;
  for (const TaskNode& task : graph.tasks()) {
    nodes.push_back({.definition = task.definition,
                     .phase = task.phase,
                     .key = task.key,
                     .outputs = task.outputs,
                     .cached = task.cached,
                     .reopened = task.reopened});
  }
  return nodes;
}

TEST(TaskGraphStateEventsTest, AnyOrderOfEventsLeavesASoundGraphThatIsRestoredAsItWas) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    TaskGraphState graph;
    std::vector<TaskDefinition> tasks;
    for (int i = 0; i < 12; ++i) {
      std::vector<std::string> producers;
      for (int p = 0; p < i; ++p) {
        if (random() % 3 == 0) producers.push_back(absl::StrCat("t", p));
      }
      tasks.push_back(Define(absl::StrCat("t", i), producers));
    }
    graph.Apply(graph_event::Planned{tasks});
    for (int step = 0; step < 300; ++step) {
      Disturb(random, graph);
      ASSERT_NO_FATAL_FAILURE(ExpectSound(graph)) << "seed " << seed << ", step " << step;
    }
    TaskGraphState restored;
    restored.Apply(graph_event::Restored{Remembered(graph)});
    ExpectSound(restored);
    EXPECT_EQ(restored.ready(), graph.ready());
    EXPECT_EQ(restored.running(), graph.running());
    for (const TaskNode& task : graph.tasks()) {
      EXPECT_EQ(restored.task(task.index).key, task.key);
      EXPECT_EQ(restored.task(task.index).dependents, task.dependents);
      EXPECT_EQ(restored.task(task.index).reopened, task.reopened);
    }
  }
}

}  // namespace
}  // namespace quantmoe
