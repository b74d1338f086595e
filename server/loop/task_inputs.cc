#include "server/loop/task_inputs.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"

namespace quantmoe {

v1::Digest ToProto(const Digest& digest) {
  v1::Digest proto;
  proto.set_sha256(digest.sha256);
  proto.set_size_bytes(digest.size_bytes);
  return proto;
}

Digest FromProto(const v1::Digest& digest) { return {digest.sha256(), digest.size_bytes()}; }

server::TaskDefinition DefineTask(const PlannedTask& task) {
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

const v1::Digest* FindOutput(const Task& task, absl::string_view role) {
  for (const v1::TaskBlob& output : task.record.outputs()) {
    if (output.role() == role) return &output.digest();
  }
  return nullptr;
}

absl::StatusOr<std::vector<v1::TaskBlob>> ResolveInputs(const Job& job, const Task& task) {
  std::vector<v1::TaskBlob> inputs;
  for (const auto& input : task.definition.inputs()) {
    v1::TaskBlob& resolved = inputs.emplace_back();
    resolved.set_role(input.role());
    if (input.producer().empty()) {
      *resolved.mutable_digest() = input.blob();
      continue;
    }
    const Task* producer = job.Find(input.producer());
    const v1::Digest* output = producer == nullptr ? nullptr : FindOutput(*producer, input.producer_role());
    if (output == nullptr) {
      return MakeError(absl::StatusCode::kInternal, "MISSING_OUTPUT",
                       absl::StrCat("task ", input.producer(), " gave no output ", input.producer_role()));
    }
    *resolved.mutable_digest() = *output;
  }
  return inputs;
}

std::string KeyOf(const Job& job, const Task& task, const std::vector<v1::TaskBlob>& inputs) {
  std::vector<BlobRef> refs;
  for (const v1::TaskBlob& input : inputs) refs.push_back({input.role(), FromProto(input.digest())});
  const TaskKind kind = ParseTaskKind(task.definition.kind()).value();  // written by DefineTask
  return TaskKey(kind, task.definition.params_json(), refs, job.record.determinism_class());
}

}  // namespace quantmoe
