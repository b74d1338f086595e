#include "server/facts/task_rows.h"

#include <string>
#include <utility>

namespace quantmoe {
namespace {

TaskPhase PhaseOf(v1::Task::State state) {
  switch (state) {
    case v1::Task::READY:
      return TaskPhase::kReady;
    case v1::Task::RUNNING:
      return TaskPhase::kRunning;
    case v1::Task::DONE:
      return TaskPhase::kDone;
    case v1::Task::FAILED:
    case v1::Task::CANCELLED:
      return TaskPhase::kDropped;
    default:
      return TaskPhase::kBlocked;
  }
}

TaskDefinition DefinitionOf(const server::TaskDefinition& definition) {
  TaskDefinition task;
  task.label = definition.label();
  task.kind = ParseTaskKind(definition.kind()).value();
  task.params_json = definition.params_json();
  task.memory_bytes = definition.memory_bytes();
  task.work = definition.work();
  for (const auto& input : definition.inputs()) {
    task.inputs.push_back({input.role(), FromProto(input.blob()), input.producer(), input.producer_role()});
  }
  return task;
}

}  // namespace

v1::Digest ToProto(const Digest& digest) {
  v1::Digest proto;
  proto.set_sha256(digest.sha256);
  proto.set_size_bytes(digest.size_bytes);
  return proto;
}

Digest FromProto(const v1::Digest& digest) { return {digest.sha256(), digest.size_bytes()}; }

std::vector<v1::TaskBlob> ToProto(const std::vector<BlobRef>& blobs) {
  std::vector<v1::TaskBlob> protos;
  for (const BlobRef& blob : blobs) {
    v1::TaskBlob& proto = protos.emplace_back();
    proto.set_role(blob.role);
    *proto.mutable_digest() = ToProto(blob.digest);
  }
  return protos;
}

server::TaskDefinition DefineTask(const TaskDefinition& task) {
  server::TaskDefinition definition;
  definition.set_label(task.label);
  definition.set_kind(std::string(TaskKindName(task.kind)));
  definition.set_params_json(task.params_json);
  definition.set_memory_bytes(task.memory_bytes);
  definition.set_work(task.work);
  for (const TaskInput& input : task.inputs) {
    auto* added = definition.add_inputs();
    added->set_role(input.role);
    if (input.producer.empty()) *added->mutable_blob() = ToProto(input.blob);
    added->set_producer(input.producer);
    added->set_producer_role(input.producer_role);
  }
  return definition;
}

v1::Task::State StateOf(TaskPhase phase) {
  switch (phase) {
    case TaskPhase::kBlocked:
      return v1::Task::BLOCKED;
    case TaskPhase::kReady:
      return v1::Task::READY;
    case TaskPhase::kRunning:
      return v1::Task::RUNNING;
    case TaskPhase::kDone:
      return v1::Task::DONE;
    case TaskPhase::kDropped:
      return v1::Task::CANCELLED;
  }
  return v1::Task::STATE_UNSPECIFIED;
}

server::TaskRecord RowOf(const TaskNode& node, server::TaskRecord record) {
  record.set_key(node.key);
  const std::vector<v1::TaskBlob> outputs = ToProto(node.outputs);
  record.mutable_outputs()->Assign(outputs.begin(), outputs.end());
  record.set_cached(node.cached);
  record.set_reopened(node.reopened);
  return record;
}

TaskNode NodeOf(const server::TaskDefinition& definition, server::TaskRecord& record) {
  TaskNode node;
  node.definition = DefinitionOf(definition);
  node.phase = PhaseOf(record.state());
  node.key = record.key();
  for (const v1::TaskBlob& output : record.outputs()) {
    node.outputs.push_back({output.role(), FromProto(output.digest())});
  }
  node.cached = record.cached();
  node.reopened = record.reopened();
  record.clear_key();
  record.clear_outputs();
  record.clear_cached();
  record.clear_reopened();
  return node;
}

}  // namespace quantmoe
