#include "server/facts/job_table.h"

#include <algorithm>
#include <limits>

#include "proto/job_state.h"
#include "server/facts/task_rows.h"

namespace quantmoe {

const Task* Job::Find(absl::string_view label) const {
  const TaskNode* node = graph.Find(label);
  return node == nullptr ? nullptr : &tasks[static_cast<size_t>(node->index)];
}

void JobTable::Load(server::JobRecord record,
                    std::vector<std::pair<server::TaskDefinition, server::TaskRecord>> tasks,
                    absl::Duration now) {
  const std::string id = record.id();
  by_number_[record.create_number()] = id;
  // One that rotted in the store does not use up the numbers of the jobs to come.
  if (record.create_number() < std::numeric_limits<int64_t>::max() / 2)
    next_number_ = std::max(next_number_, record.create_number() + 1);
  if (!record.request_id().empty()) by_request_[record.request_id()] = id;
  Job& job = jobs_[id];
  job.record = std::move(record);
  graph_event::Restored restored;
  std::vector<server::TaskRecord> records;
  for (auto& [definition, state] : tasks) {
    restored.tasks.push_back(NodeOf(definition, state));
    records.push_back(std::move(state));
  }
  AddTasks(job, job.graph.Apply(restored), std::move(records), now);
}

JobTable::Touched JobTable::Apply(const Event& event) {
  return std::visit([this](const auto& e) { return On(e); }, event);
}

const Job* JobTable::Find(absl::string_view job) const {
  auto it = jobs_.find(std::string(job));
  return it == jobs_.end() ? nullptr : &it->second;
}

const Task* JobTable::FindTask(absl::string_view job, absl::string_view task) const {
  const Job* found = Find(job);
  return found == nullptr ? nullptr : found->Find(task);
}

const Job* JobTable::FindByRequestId(absl::string_view request_id) const {
  auto it = by_request_.find(request_id);
  return it == by_request_.end() ? nullptr : Find(it->second);
}

std::vector<TaskRef> JobTable::ReadyWithKey(const std::string& key) const {
  auto it = ready_keys_.find(key);
  if (it == ready_keys_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::vector<TaskRef> JobTable::RunningOn(absl::string_view worker) const {
  auto it = running_on_.find(std::string(worker));
  if (it == running_on_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

int JobTable::active_jobs() const {
  return static_cast<int>(std::count_if(
      jobs_.begin(), jobs_.end(), [](const auto& job) { return !IsTerminal(job.second.record.state()); }));
}

int64_t JobTable::NextSeq(const std::string& job) {
  server::JobRecord& record = Get(job).record;
  record.set_last_seq(record.last_seq() + 1);
  return record.last_seq();
}

const server::JobRecord& JobTable::Revise(const std::string& job) {
  server::JobRecord& record = Get(job).record;
  record.set_revision(record.revision() + 1);
  return record;
}

JobTable::Touched JobTable::On(const JobCreated& event) {
  Load(event.record, {});
  Job& job = Get(event.record.id());
  Touched touched{.job = event.record.id(), .tasks = {}, .new_definitions = true};
  touched.tasks = job.graph.Apply(graph_event::Planned{event.tasks});
  AddTasks(job, touched.tasks, {}, absl::ZeroDuration());
  return touched;
}

JobTable::Touched JobTable::On(const JobBound& event) {
  Get(event.job).record.set_determinism_class(event.determinism_class);
  return {.job = event.job, .tasks = {}};
}

JobTable::Touched JobTable::On(const GraphExpanded& event) {
  Job& job = Get(event.job);
  Touched touched{.job = event.job, .tasks = {}, .new_definitions = true};
  touched.tasks = job.graph.Apply(graph_event::Planned{event.tasks});
  AddTasks(job, touched.tasks, {}, absl::ZeroDuration());
  job.record.set_expanded(true);
  ++job.progress_version;
  return touched;
}

JobTable::Touched JobTable::On(const TaskReady& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.ready_at = event.at;
  task.awaits_lookup = event.awaits_lookup;
  return {.job = event.job, .tasks = Settle(job, task, graph_event::Ready{task.index(), event.key})};
}

JobTable::Touched JobTable::On(const TaskLookedUp& event) {
  GetTask(Get(event.job), event.task).awaits_lookup = false;
  return {};
}

JobTable::Touched JobTable::On(const TaskStarted& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.awaits_lookup = false;
  task.record.set_worker(event.worker);
  job.workers.insert(event.worker);
  task.record.set_token(event.token);
  task.record.set_attempts(task.record.attempts() + 1);
  if (task.record.start_us() == 0) task.record.set_start_us(absl::ToUnixMicros(event.time));
  task.started_at = event.at;
  task.acknowledged = false;
  job.last_assigned = ++assignments_;
  return {.job = event.job, .tasks = Settle(job, task, graph_event::Started{task.index()})};
}

JobTable::Touched JobTable::On(const TaskAcknowledged& event) {
  GetTask(Get(event.job), event.task).acknowledged = true;
  return {};  // not stored: it matters only while the worker's session lasts
}

JobTable::Touched JobTable::On(const TaskAdopted& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.record.set_worker(event.worker);
  job.workers.insert(event.worker);
  task.acknowledged = true;
  Enter(job, task);
  return {.job = event.job, .tasks = {task.index()}};
}

JobTable::Touched JobTable::On(const TaskDone& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.record.set_seconds(task.record.seconds() + event.seconds);
  task.record.set_finish_us(absl::ToUnixMicros(event.time));
  if (task.record.start_us() == 0) task.record.set_start_us(task.record.finish_us());
  task.record.clear_error();
  graph_event::Done done{.task = task.index(), .outputs = {}, .cached = event.cached};
  for (const v1::TaskBlob& output : event.outputs) {
    done.outputs.push_back({output.role(), FromProto(output.digest())});
  }
  return {.job = event.job, .tasks = Settle(job, task, done)};
}

JobTable::Touched JobTable::On(const TaskReleased& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  server::TaskRecord& record = task.record;
  const std::string worker = record.worker();
  record.clear_token();
  record.clear_worker();
  record.set_seconds(record.seconds() + event.seconds);
  if (event.error.code() != 0) *record.mutable_error() = event.error;
  RecordCharge(record, event.charge, worker);
  if (event.charge == Charge::kMemory) {
    record.set_exhausted_memory_bytes(
        std::max(record.exhausted_memory_bytes(), event.exhausted_memory_bytes));
  }
  if (!event.killed_worker.empty()) {
    RecordDeath(record, event.killed_worker);
    job.dead_workers.insert(event.killed_worker);
  }
  task.run_after = event.run_after;
  return {.job = event.job, .tasks = Settle(job, task, graph_event::Released{task.index()})};
}

JobTable::Touched JobTable::On(const TaskReopened& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.record.clear_token();
  task.record.clear_finish_us();
  return {.job = event.job, .tasks = Settle(job, task, graph_event::Reopened{task.index()})};
}

JobTable::Touched JobTable::On(const TaskEnded& event) {
  Job& job = Get(event.job);
  Task& task = GetTask(job, event.task);
  Leave(job, task);
  task.record.clear_token();
  task.record.set_seconds(task.record.seconds() + event.seconds);
  task.record.set_finish_us(absl::ToUnixMicros(event.time));
  if (event.error.code() != 0) *task.record.mutable_error() = event.error;
  task.record.set_state(event.state);
  return {.job = event.job, .tasks = Settle(job, task, graph_event::Dropped{task.index()})};
}

JobTable::Touched JobTable::On(const JobStateChanged& event) {
  Job& job = Get(event.job);
  Touched touched{.job = event.job, .tasks = {}};
  job.record.set_state(event.state);
  job.record.set_reason(event.reason);
  job.waiting.Clear();
  if (event.error.code() != 0) *job.record.mutable_error() = event.error;
  const int64_t now_us = absl::ToUnixMicros(event.time);
  if (event.state == v1::Job::RUNNING && job.record.start_us() == 0) job.record.set_start_us(now_us);
  if (IsTerminal(event.state)) job.record.set_finish_us(now_us);
  if (event.state == v1::Job::SUCCEEDED) *job.record.mutable_artifact() = event.artifact;
  const bool cancels = event.state == v1::Job::CANCELLING || event.state == v1::Job::FAILED ||
                       event.state == v1::Job::CANCELLED;
  if (!cancels) return touched;
  for (Task& task : job.tasks) {
    const TaskState state = task.record.state();
    const bool ends = state == v1::Task::BLOCKED || state == v1::Task::READY ||
                      (state == v1::Task::RUNNING && IsTerminal(event.state));
    if (!ends) continue;
    Leave(job, task);
    task.record.set_state(v1::Task::CANCELLED);
    touched.tasks.push_back(Settle(job, task, graph_event::Dropped{task.index()}).front());
  }
  return touched;
}

JobTable::Touched JobTable::On(const JobExplained& event) {
  Job& job = Get(event.job);
  job.waiting = event.waiting;
  job.record.set_reason(event.waiting.reason());
  return {};  // not stored: it is found anew, and a disk that takes nothing must not be asked to
}

JobTable::Touched JobTable::On(const JobDeleted& event) {
  Job& job = Get(event.job);
  for (Task& task : job.tasks) Leave(job, task);
  by_number_.erase(job.record.create_number());
  by_request_.erase(job.record.request_id());
  jobs_.erase(event.job);
  return {.job = event.job, .tasks = {}, .new_definitions = false, .deleted = true};
}

Task& JobTable::GetTask(Job& job, const std::string& label) {
  return job.tasks[static_cast<size_t>(job.graph.Find(label)->index)];
}

void JobTable::AddTasks(Job& job, const std::vector<int>& nodes, std::vector<server::TaskRecord> records,
                        absl::Duration now) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    Task& task = job.tasks.emplace_back();
    task.node = &job.graph.task(nodes[i]);
    task.record.set_state(v1::Task::BLOCKED);
    if (i < records.size()) task.record = std::move(records[i]);
    task.ready_at = now;
    task.awaits_lookup = task.record.state() == v1::Task::READY && !task.key().empty();
    if (!task.record.worker().empty()) job.workers.insert(task.record.worker());
    for (const std::string& dead : WorkersThatDied(task.record)) {
      job.workers.insert(dead);
      job.dead_workers.insert(dead);
    }
    Enter(job, task);
  }
}

std::vector<int> JobTable::Settle(Job& job, Task& task, const GraphEvent& event) {
  const std::vector<int> changed = job.graph.Apply(event);
  for (const int index : changed) {
    Task& other = job.tasks[static_cast<size_t>(index)];
    const bool blocked = index != task.index();
    if (blocked) Leave(job, other);
    if (other.node->phase != TaskPhase::kDropped) other.record.set_state(StateOf(other.node->phase));
    Enter(job, other);
  }
  return changed;
}

void JobTable::Enter(Job& job, const Task& task) {
  const TaskRef ref{job.record.id(), task.label()};
  const std::string& key = task.key();
  StageCounters& stage = job.stages[task.kind()];
  ++stage.total;
  stage.seconds += task.record.seconds();
  ++job.progress_version;
  switch (task.record.state()) {
    case v1::Task::READY:
      if (!key.empty()) ready_keys_[key].insert(ref);
      break;
    case v1::Task::RUNNING:
      ++stage.running;
      if (!key.empty()) ++running_keys_[key];
      running_on_[task.record.worker()].insert(ref);
      break;
    case v1::Task::DONE:
      ++stage.done;
      if (task.cached()) ++stage.cached;
      break;
    default:
      break;
  }
}

void JobTable::Leave(Job& job, const Task& task) {
  const TaskRef ref{job.record.id(), task.label()};
  const std::string& key = task.key();
  StageCounters& stage = job.stages[task.kind()];
  --stage.total;
  stage.seconds -= task.record.seconds();
  switch (task.record.state()) {
    case v1::Task::READY:
      if (auto it = ready_keys_.find(key); it != ready_keys_.end()) {
        it->second.erase(ref);
        if (it->second.empty()) ready_keys_.erase(it);
      }
      break;
    case v1::Task::RUNNING:
      --stage.running;
      if (auto it = running_keys_.find(key); it != running_keys_.end() && --it->second == 0)
        running_keys_.erase(it);
      if (auto it = running_on_.find(task.record.worker()); it != running_on_.end()) {
        it->second.erase(ref);
        if (it->second.empty()) running_on_.erase(it);
      }
      break;
    case v1::Task::DONE:
      --stage.done;
      if (task.cached()) --stage.cached;
      break;
    default:
      break;
  }
}

}  // namespace quantmoe
