#include "quant/tasks/part_task.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/model/attention.h"
#include "quant/tensor_bytes.h"

namespace quantmoe {

PartTask::PartTask(const OpenedModel& model, Part part, const TaskArguments& arguments, TaskContext& context)
    : model_(model),
      part_(std::move(part)),
      arguments_(arguments),
      context_(context),
      weights_(model.spec, model.checkpoint, at::kFloat),
      device_(*context.device),
      upload_(device_.device),
      device_weights_(weights_, upload_) {}

absl::Status PartTask::ReadOptions() {
  ASSIGN_OR_RETURN(options_, ReadSolveOptions(arguments_, context_));
  ASSIGN_OR_RETURN(experts_, ReadExpertCalibration(arguments_));
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> PartTask::Shard(const std::string& role, const std::string& name, size_t shard) {
  RETURN_IF_ERROR(CheckCancelled(context_));
  ASSIGN_OR_RETURN(const Digest digest, arguments_.Input(absl::StrCat(role, ".", shard)));
  ASSIGN_OR_RETURN(const NamedTensors tensors, GetStates(context_.blobs, digest));
  return tensors.at(name);
}

absl::StatusOr<std::vector<Dispatch>> PartTask::Dispatches(size_t shards) {
  std::vector<Dispatch> dispatches;
  for (size_t s = 0; s < shards; ++s) {
    ASSIGN_OR_RETURN(const at::Tensor experts, Shard("routing", "experts", s));
    ASSIGN_OR_RETURN(const at::Tensor weights, Shard("routing", "weights", s));
    dispatches.emplace_back(Routing{experts.to(at::kLong), weights}, model_.spec.moe.experts);
  }
  return dispatches;
}

std::vector<std::vector<size_t>> PartTask::LinearsByInput() const {
  std::vector<std::vector<size_t>> groups;
  std::map<LinearKind, size_t> index;
  for (size_t i = 0; i < part_.linears.size(); ++i) {
    const auto [at, added] = index.try_emplace(AttentionInputOf(part_.linears[i].kind), groups.size());
    if (added) groups.emplace_back();
    groups[at->second].push_back(i);
  }
  return groups;
}

}  // namespace quantmoe
