#include "plan/graph/task_definition.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "plan/allocate/width_rules.h"
#include "plan/options/spec_json.h"

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

std::string RefineLabel(int round) { return absl::StrCat("refine-", round); }

std::string ChosenPlanLabel(int refinement_rounds) {
  return refinement_rounds > 0 ? RefineLabel(refinement_rounds) : kAllocateLabel;
}

TaskInput ChosenPlan(const ResolvedJob& job) {
  return FromTask("plan", ChosenPlanLabel(job.spec.refinement.rounds), "plan");
}

TaskInput HiddenInput(std::string role, int layer, int shard) {
  if (layer == 0) return FromTask(std::move(role), kPrepareLabel, absl::StrCat("hidden.", shard));
  return FromTask(std::move(role), ForwardLabel(layer - 1, shard), "hidden");
}

namespace {

// The experts of the part that a pattern names, ascending.
std::vector<int> ExpertsOnAllTokens(const Part& part, const std::vector<std::string>& patterns) {
  std::set<int> experts;
  for (const Linear& linear : part.linears) {
    for (const std::string& pattern : patterns) {
      if (IsExpert(linear.kind) && MatchesPattern(pattern, linear)) experts.insert(linear.expert);
    }
  }
  return {experts.begin(), experts.end()};
}

}  // namespace

nlohmann::json SolveParams(const ResolvedJob& job, const Part& part) {
  nlohmann::json params = ModelParams(job);
  params["layer"] = part.layer;
  params["part"] = part.index;
  AddTaskParams(job.spec, kSolveTasks, params);
  params["all_tokens"] = ExpertsOnAllTokens(part, job.spec.gptq.all_tokens);
  return params;
}

}  // namespace quantmoe
