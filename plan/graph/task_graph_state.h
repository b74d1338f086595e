// How far one job is: which of its tasks are done and with what results, and so which others can run, on
// which inputs and under which key. The coordinator keeps one for each job (server/facts/job_table.h),
// quantmoe-local the one of the job that it runs. Changed only by Apply(event); who decides is the caller,
// who remembers is a store of the caller's. Thread-compatible: no lock, no clock, no files. Apply is
// deterministic and refuses nothing: an event that does not fit is a bug of the caller.
#pragma once

#include <deque>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/graph/task_definition.h"
#include "plan/graph/task_kind.h"
#include "storage/digest.h"

namespace quantmoe {

enum class TaskPhase {
  kBlocked,  // a producer is not done, or nobody has called the task ready yet
  kReady,    // can run
  kRunning,
  kDone,
  kDropped,  // ended for good without a result
};

struct TaskNode {
  TaskDefinition definition;
  TaskPhase phase = TaskPhase::kBlocked;
  std::string key = {};               // under which its result is found again; empty: not known yet
  std::vector<BlobRef> outputs = {};  // while kDone
  bool cached = false;                // they are the result of an equal task
  int reopened = 0;                   // how often its result was lost
  int index = 0;                      // in the order of planning; producers come first
  int height = 0;                     // tasks on the longest way to the end of the job, itself included
  int unmet = 0;                      // producers that are not done
  std::vector<int> dependents = {};   // indices, ascending, each once

  bool WaitsForNobody() const { return phase == TaskPhase::kBlocked && unmet == 0; }
};

// A result that is lost more often points to a disk that destroys what is written to it.
inline constexpr int kMostReopened = 5;

// Tasks are named by their index.
namespace graph_event {
// Tasks that are known from now on: the first one, and all others once it has told how many there are.
struct Planned {
  std::vector<TaskDefinition> tasks;
};
// Tasks as they were when they were remembered; only their definitions, phases, keys, results and counts of
// lost results are read.
struct Restored {
  std::vector<TaskNode> tasks;
};
// The task can run. `key` as of KeyOf. Of a task that is ready already only the key changes.
struct Ready {
  int task = 0;
  std::string key = {};
};
struct Started {
  int task = 0;
};
struct Done {
  int task = 0;
  std::vector<BlobRef> outputs = {};
  bool cached = false;
};
// The attempt ended without a result. The task can run again unless one of its inputs was lost meanwhile.
struct Released {
  int task = 0;
};
// The result of a task that is done is lost: the task runs again, and before it none of those that were
// ready.
struct Reopened {
  int task = 0;
};
struct Dropped {
  int task = 0;
};
}  // namespace graph_event

using GraphEvent =
    std::variant<graph_event::Planned, graph_event::Restored, graph_event::Ready, graph_event::Started,
                 graph_event::Done, graph_event::Released, graph_event::Reopened, graph_event::Dropped>;

class TaskGraphState {
 public:
  TaskGraphState() = default;
  TaskGraphState(TaskGraphState&&) = default;  // nodes keep their addresses
  TaskGraphState& operator=(TaskGraphState&&) = default;

  // The tasks that are new or whose phase may have changed, ascending.
  std::vector<int> Apply(const GraphEvent& event);

  // By index. A node stays where it is.
  const std::deque<TaskNode>& tasks() const { return tasks_; }
  const TaskNode& task(int index) const { return tasks_[static_cast<size_t>(index)]; }
  const TaskNode* Find(absl::string_view label) const;
  // (-height, index) of the tasks that are kReady: the most urgent first.
  const std::set<std::pair<int, int>>& ready() const { return ready_; }
  const std::set<int>& running() const { return running_; }
  int done() const { return done_; }

  // The result of the task with this label. INTERNAL MISSING_OUTPUT names task and role.
  absl::StatusOr<Digest> OutputOf(absl::string_view label, absl::string_view role) const;
  // What the task reads, in the order of its parameters. MISSING_OUTPUT when a producer is not done.
  absl::StatusOr<std::vector<BlobRef>> InputsOf(const TaskNode& task) const;
  // TaskKey of the task on hardware of this class; empty where the class is, since nobody knows the key then.
  // Errors of InputsOf.
  absl::StatusOr<std::string> KeyOf(const TaskNode& task, absl::string_view determinism_class) const;

  // A task that is done and has an output with this SHA-256; null when there is none.
  const TaskNode* ProducerOf(absl::string_view sha256) const;
  // Whether somebody will still read the outputs of a task that is done: another task that is not done, or
  // whoever runs the job, where no task reads them.
  bool IsNeeded(const TaskNode& task) const;

 private:
  std::vector<int> On(const graph_event::Planned& event);
  std::vector<int> On(const graph_event::Restored& event);
  std::vector<int> On(const graph_event::Ready& event);
  std::vector<int> On(const graph_event::Started& event);
  std::vector<int> On(const graph_event::Done& event);
  std::vector<int> On(const graph_event::Released& event);
  std::vector<int> On(const graph_event::Reopened& event);
  std::vector<int> On(const graph_event::Dropped& event);

  TaskNode& At(int index) { return tasks_[static_cast<size_t>(index)]; }
  int Add(TaskNode task);
  // Fills in dependents, unmet and height of all tasks, and sorts them into ready_, running_ and done_.
  void Link();
  void LinkProducers(const TaskNode& task);
  void SetPhase(TaskNode& task, TaskPhase phase);
  void Enter(const TaskNode& task);
  void Leave(const TaskNode& task);

  std::deque<TaskNode> tasks_;
  absl::flat_hash_map<std::string, int> by_label_;
  std::set<std::pair<int, int>> ready_;
  std::set<int> running_;
  int done_ = 0;
};

}  // namespace quantmoe
