#include "plan/task_pieces.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {

nlohmann::json ModelParams(const ResolvedJob& job) {
  return {{"model_uri", job.spec.model_uri}, {"fingerprint", job.model_fingerprint}};
}

TaskInput FromBlob(std::string role, const Digest& blob) { return {std::move(role), blob, "", ""}; }
TaskInput FromTask(std::string role, std::string producer, std::string producer_role) {
  return {std::move(role), {}, std::move(producer), std::move(producer_role)};
}

std::string ForwardLabel(int layer, int shard) { return absl::StrCat("forward-l", layer, "-s", shard); }
std::string SolveLabel(const Part& part) { return absl::StrCat("solve-l", part.layer, "-p", part.index); }
std::string EvaluateLabel(absl::string_view weights, int shard) {
  return absl::StrCat("evaluate-", weights, "-", shard);
}

TaskInput HiddenInput(std::string role, int layer, int shard) {
  if (layer == 0) return FromTask(std::move(role), "prepare", absl::StrCat("hidden.", shard));
  return FromTask(std::move(role), ForwardLabel(layer - 1, shard), "hidden");
}

nlohmann::json SolveParams(const ResolvedJob& job, const Part& part) {
  const GptqSpec& gptq = job.spec.gptq;
  nlohmann::json params = ModelParams(job);
  params["layer"] = part.layer;
  params["part"] = part.index;
  params["group_size"] = gptq.group_size;
  params["widths"] = gptq.widths;
  params["damp"] = gptq.damp;
  params["act_order"] = gptq.act_order;
  params["scale_search"] = gptq.scale_search;
  params["min_tokens_ratio"] = gptq.min_tokens_ratio;
  params["gate_weighted"] = gptq.gate_weighted;
  params["shrinkage"] = gptq.shrinkage;
  return params;
}

}  // namespace quantmoe
