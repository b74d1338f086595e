#include "plan/graph/task_graph_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

absl::Status MissingOutput(absl::string_view label, absl::string_view role) {
  return MakeError(absl::StatusCode::kInternal, "MISSING_OUTPUT",
                   absl::StrCat("task ", label, " gave no output ", role));
}

bool Gave(const TaskNode& task, absl::string_view sha256) {
  return std::any_of(task.outputs.begin(), task.outputs.end(),
                     [&](const BlobRef& output) { return output.digest.sha256 == sha256; });
}

}  // namespace

std::vector<int> TaskGraphState::Apply(const GraphEvent& event) {
  return std::visit([this](const auto& e) { return On(e); }, event);
}

std::vector<int> TaskGraphState::On(const graph_event::Planned& event) {
  std::vector<int> added;
  for (const TaskDefinition& definition : event.tasks) added.push_back(Add({.definition = definition}));
  Link();
  return added;
}

std::vector<int> TaskGraphState::On(const graph_event::Restored& event) {
  std::vector<int> added;
  for (const TaskNode& task : event.tasks) added.push_back(Add(task));
  Link();
  return added;
}

std::vector<int> TaskGraphState::On(const graph_event::Ready& event) {
  TaskNode& task = At(event.task);
  task.key = event.key;
  SetPhase(task, TaskPhase::kReady);
  return {event.task};
}

std::vector<int> TaskGraphState::On(const graph_event::Started& event) {
  SetPhase(At(event.task), TaskPhase::kRunning);
  return {event.task};
}

std::vector<int> TaskGraphState::On(const graph_event::Done& event) {
  TaskNode& task = At(event.task);
  const bool was_done = task.phase == TaskPhase::kDone;
  SetPhase(task, TaskPhase::kDone);
  task.outputs = event.outputs;
  task.cached = event.cached;
  if (was_done) return {event.task};
  for (int dependent : task.dependents) --At(dependent).unmet;
  return {event.task};
}

std::vector<int> TaskGraphState::On(const graph_event::Released& event) {
  TaskNode& task = At(event.task);
  SetPhase(task, task.unmet > 0 ? TaskPhase::kBlocked : TaskPhase::kReady);
  return {event.task};
}

std::vector<int> TaskGraphState::On(const graph_event::Reopened& event) {
  TaskNode& task = At(event.task);
  SetPhase(task, TaskPhase::kBlocked);
  task.outputs.clear();
  task.cached = false;
  ++task.reopened;
  std::vector<int> changed = {event.task};
  for (int index : task.dependents) {
    TaskNode& dependent = At(index);
    ++dependent.unmet;
    if (dependent.phase != TaskPhase::kReady) continue;
    SetPhase(dependent, TaskPhase::kBlocked);
    changed.push_back(index);
  }
  return changed;
}

std::vector<int> TaskGraphState::On(const graph_event::Dropped& event) {
  SetPhase(At(event.task), TaskPhase::kDropped);
  return {event.task};
}

const TaskNode* TaskGraphState::Find(absl::string_view label) const {
  const auto found = by_label_.find(label);
  return found == by_label_.end() ? nullptr : &task(found->second);
}

absl::StatusOr<Digest> TaskGraphState::OutputOf(absl::string_view label, absl::string_view role) const {
  const TaskNode* task = Find(label);
  if (task == nullptr) return MissingOutput(label, role);
  for (const BlobRef& output : task->outputs) {
    if (output.role == role) return output.digest;
  }
  return MissingOutput(label, role);
}

absl::StatusOr<std::vector<BlobRef>> TaskGraphState::InputsOf(const TaskNode& task) const {
  std::vector<BlobRef> inputs;
  for (const TaskInput& input : task.definition.inputs) {
    if (input.producer.empty()) {
      inputs.push_back({input.role, input.blob});
      continue;
    }
    ASSIGN_OR_RETURN(Digest digest, OutputOf(input.producer, input.producer_role));
    inputs.push_back({input.role, std::move(digest)});
  }
  return inputs;
}

absl::StatusOr<std::string> TaskGraphState::KeyOf(const TaskNode& task,
                                                  absl::string_view determinism_class) const {
  ASSIGN_OR_RETURN(const std::vector<BlobRef> inputs, InputsOf(task));
  if (determinism_class.empty()) return "";
  return TaskKey(task.definition.kind, task.definition.params_json, inputs, determinism_class);
}

const TaskNode* TaskGraphState::ProducerOf(absl::string_view sha256) const {
  const auto producer =
      std::find_if(tasks_.begin(), tasks_.end(), [&](const TaskNode& task) { return Gave(task, sha256); });
  return producer == tasks_.end() ? nullptr : &*producer;
}

bool TaskGraphState::IsNeeded(const TaskNode& task) const {
  return task.dependents.empty() ||
         std::any_of(task.dependents.begin(), task.dependents.end(),
                     [this](int dependent) { return this->task(dependent).phase != TaskPhase::kDone; });
}

int TaskGraphState::Add(TaskNode task) {
  task.index = static_cast<int>(tasks_.size());
  by_label_[task.definition.label] = task.index;
  tasks_.push_back(std::move(task));
  return tasks_.back().index;
}

void TaskGraphState::Link() {
  ready_.clear();
  running_.clear();
  done_ = 0;
  for (TaskNode& task : tasks_) {
    task.dependents.clear();
    task.unmet = 0;
    task.height = 1;
  }
  for (const TaskNode& task : tasks_) LinkProducers(task);
  // Producers come first, so one pass from the end sees every dependent before its producers.
  for (auto task = tasks_.rbegin(); task != tasks_.rend(); ++task) {
    for (int dependent : task->dependents) task->height = std::max(task->height, At(dependent).height + 1);
  }
  for (const TaskNode& task : tasks_) Enter(task);
}

// Called in ascending order, so that the dependents of every producer are, too.
void TaskGraphState::LinkProducers(const TaskNode& task) {
  for (const TaskInput& input : task.definition.inputs) {
    if (input.producer.empty()) continue;
    TaskNode& producer = At(by_label_.at(input.producer));
    const bool linked = !producer.dependents.empty() && producer.dependents.back() == task.index;
    if (linked) continue;  // several inputs from one task count once
    producer.dependents.push_back(task.index);
    if (producer.phase != TaskPhase::kDone) ++At(task.index).unmet;
  }
}

void TaskGraphState::SetPhase(TaskNode& task, TaskPhase phase) {
  Leave(task);
  task.phase = phase;
  Enter(task);
}

void TaskGraphState::Enter(const TaskNode& task) {
  if (task.phase == TaskPhase::kReady) ready_.insert({-task.height, task.index});
  if (task.phase == TaskPhase::kRunning) running_.insert(task.index);
  if (task.phase == TaskPhase::kDone) ++done_;
}

void TaskGraphState::Leave(const TaskNode& task) {
  if (task.phase == TaskPhase::kReady) ready_.erase({-task.height, task.index});
  if (task.phase == TaskPhase::kRunning) running_.erase(task.index);
  if (task.phase == TaskPhase::kDone) --done_;
}

}  // namespace quantmoe
