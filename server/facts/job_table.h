// The facts about jobs and tasks, in memory: how far the graph of each job is
// (plan/graph/task_graph_state.h), and what its attempts came to. Changed only by Apply(event); who decides
// is job_lifecycle and scheduler, who remembers is the state store (facts_recorder writes what Apply
// touched). Thread-compatible: no lock, no clock, no gRPC. Apply is deterministic and refuses nothing: an
// event that does not fit the facts is a bug of the caller.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "plan/graph/task_graph_state.h"
#include "server/facts/attempt_history.h"
#include "server/facts/state.pb.h"

namespace quantmoe {

using JobState = v1::Job::State;
using TaskState = v1::Task::State;

// ---- Events ----

struct JobCreated {
  server::JobRecord record;
  std::vector<TaskDefinition> tasks;  // the first ones
};
// The job's tasks may only run on workers of this class from now on.
struct JobBound {
  std::string job;
  std::string determinism_class;
};
struct GraphExpanded {
  std::string job;
  std::vector<TaskDefinition> tasks;
};
// All inputs are known. `key` is empty while the job has no class.
struct TaskReady {
  std::string job;
  std::string task;
  std::string key;
  absl::Duration at;           // monotonic
  bool awaits_lookup = false;  // an earlier result of the key is being looked for
};
// No earlier result is known: the task may be run. Not stored: after a restart it is looked for again.
struct TaskLookedUp {
  std::string job;
  std::string task;
};
struct TaskStarted {
  std::string job;
  std::string task;
  std::string worker;
  std::string token;
  absl::Time time;
  absl::Duration at;  // monotonic
};
// The worker has confirmed that it received the task.
struct TaskAcknowledged {
  std::string job;
  std::string task;
};
// Another session of a worker holds the running attempt.
struct TaskAdopted {
  std::string job;
  std::string task;
  std::string worker;
};
struct TaskDone {
  std::string job;
  std::string task;
  std::vector<v1::TaskBlob> outputs;
  bool cached = false;
  double seconds = 0;
  absl::Time time;
};
// The attempt ended without result and the task waits for another.
struct TaskReleased {
  std::string job;
  std::string task;
  Charge charge = Charge::kNone;
  double seconds = 0;
  int64_t exhausted_memory_bytes = 0;
  google::rpc::Status error = {};
  absl::Duration run_after = {};   // monotonic
  std::string killed_worker = {};  // that died while it ran the task
};
// The result of a DONE task is lost: it is BLOCKED again, and so are those that wait to run on it.
struct TaskReopened {
  std::string job;
  std::string task;
};
// The task ends for good without a result: FAILED or CANCELLED.
struct TaskEnded {
  std::string job;
  std::string task;
  TaskState state = v1::Task::FAILED;
  double seconds = 0;
  google::rpc::Status error = {};
  absl::Time time = {};
};
// A terminal state other than SUCCEEDED cancels every task that is not DONE or FAILED; CANCELLING cancels
// those that do not run.
struct JobStateChanged {
  std::string job;
  JobState state = v1::Job::QUEUED;
  std::string reason = {};
  google::rpc::Status error = {};
  absl::Time time = {};
  server::ArtifactRecord artifact = {};  // with SUCCEEDED
};
// Why nothing of the job runs; no event-log row, and lost in a restart.
struct JobExplained {
  std::string job;
  v1::Waiting waiting;
};
struct JobDeleted {
  std::string job;
};

using Event = std::variant<JobCreated, JobBound, GraphExpanded, TaskReady, TaskLookedUp, TaskStarted,
                           TaskAcknowledged, TaskAdopted, TaskDone, TaskReleased, TaskReopened, TaskEnded,
                           JobStateChanged, JobExplained, JobDeleted>;

// ---- Facts ----

struct Task {
  const TaskNode* node = nullptr;  // in Job::graph: what the task is, how far it is, its key and its results
  server::TaskRecord record;       // its attempts, and its state; what the node has is empty (task_rows.h)
  // Monotonic times; lost in a restart.
  absl::Duration ready_at;
  absl::Duration started_at;
  absl::Duration run_after;
  bool acknowledged = false;
  bool awaits_lookup = false;  // READY, and its key is being looked for: it must not be run yet

  const TaskDefinition& definition() const { return node->definition; }
  const std::string& label() const { return definition().label; }
  TaskKind kind() const { return definition().kind; }
  const std::string& key() const { return node->key; }
  const std::vector<BlobRef>& outputs() const { return node->outputs; }
  bool cached() const { return node->cached; }
  int reopened() const { return node->reopened; }
  int index() const { return node->index; }
};

struct StageCounters {
  int total = 0;
  int done = 0;
  int running = 0;
  int cached = 0;
  double seconds = 0;
};

struct Job {
  server::JobRecord record;
  TaskGraphState graph;
  std::vector<Task> tasks;                   // by the index of their nodes
  std::map<TaskKind, StageCounters> stages;  // in the order of a job
  std::set<std::string> workers;             // that ran a task of it, as far as the records tell
  std::set<std::string> dead_workers;        // those that died while they ran one
  v1::Waiting waiting;                       // why nothing runs; without a cause: nothing is in the way
  int64_t last_assigned = 0;                 // grows with every assignment of any job; for fairness
  int64_t progress_version = 0;              // grows with every change of a task

  const Task* Find(absl::string_view label) const;
};

struct TaskRef {
  std::string job;
  std::string task;
  friend auto operator<=>(const TaskRef&, const TaskRef&) = default;
};

class JobTable {
 public:
  // `first_number`: no job that is created here has a smaller number.
  explicit JobTable(int64_t first_number = 1) : next_number_(first_number) {}

  // Loads a row that was stored; tasks in the order of their definitions. RUNNING tasks stay RUNNING; READY
  // ones are so since `now` (monotonic), and await the look-up of their key.
  void Load(server::JobRecord record,
            std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> tasks,
            absl::Duration now = absl::ZeroDuration());

  // What a change touched, for the store: indices of tasks, and whether they are new.
  struct Touched {
    std::string job;
    std::vector<int> tasks;
    bool new_definitions = false;
    bool deleted = false;
  };
  Touched Apply(const Event& event);

  const std::map<std::string, Job>& jobs() const { return jobs_; }
  const Job* Find(absl::string_view job) const;
  const Task* FindTask(absl::string_view job, absl::string_view task) const;
  // The job made with this request id; null when there is none.
  const Job* FindByRequestId(absl::string_view request_id) const;
  // Ids in the order of creation, newest last.
  const std::map<int64_t, std::string>& by_number() const { return by_number_; }
  // Larger than that of every job since this process began, but for numbers that rotted.
  int64_t next_number() const { return next_number_; }

  bool KeyIsRunning(const std::string& key) const { return running_keys_.contains(key); }
  // READY tasks with this key.
  std::vector<TaskRef> ReadyWithKey(const std::string& key) const;
  // RUNNING tasks of a worker.
  std::vector<TaskRef> RunningOn(absl::string_view worker) const;
  int active_jobs() const;

  // Bookkeeping of the recorder: the number of the next event-log row, and the record with a new revision.
  int64_t NextSeq(const std::string& job);
  const server::JobRecord& Revise(const std::string& job);

 private:
  Touched On(const JobCreated& event);
  Touched On(const JobBound& event);
  Touched On(const GraphExpanded& event);
  Touched On(const TaskReady& event);
  Touched On(const TaskLookedUp& event);
  Touched On(const TaskStarted& event);
  Touched On(const TaskAcknowledged& event);
  Touched On(const TaskAdopted& event);
  Touched On(const TaskDone& event);
  Touched On(const TaskReleased& event);
  Touched On(const TaskReopened& event);
  Touched On(const TaskEnded& event);
  Touched On(const JobStateChanged& event);
  Touched On(const JobExplained& event);
  Touched On(const JobDeleted& event);

  Job& Get(const std::string& job) { return jobs_.at(job); }
  static Task& GetTask(Job& job, const std::string& label);
  // Appends the tasks of these nodes, with their records or as BLOCKED ones.
  void AddTasks(Job& job, const std::vector<int>& nodes, std::vector<server::TaskRecord> records,
                absl::Duration now);
  // Changes the graph around `task`, which has left the counters and enters them again, and the states of all
  // whose phase that changed: their indices.
  std::vector<int> Settle(Job& job, Task& task, const GraphEvent& event);
  // Into and out of the counters of the job and the tables of keys and workers.
  void Enter(Job& job, const Task& task);
  void Leave(Job& job, const Task& task);

  std::map<std::string, Job> jobs_;
  std::map<int64_t, std::string> by_number_;
  int64_t next_number_;
  absl::flat_hash_map<std::string, std::string> by_request_;
  absl::flat_hash_map<std::string, int> running_keys_;
  absl::flat_hash_map<std::string, std::set<TaskRef>> ready_keys_;
  std::map<std::string, std::set<TaskRef>, std::less<>> running_on_;
  int64_t assignments_ = 0;
};

}  // namespace quantmoe
