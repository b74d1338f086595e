#include "plan/graph/task_definition.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {

TaskInput FromBlob(std::string role, const Digest& blob) { return {std::move(role), blob, "", ""}; }
TaskInput FromTask(std::string role, std::string producer, std::string producer_role) {
  return {std::move(role), {}, std::move(producer), std::move(producer_role)};
}

std::string ForwardLabel(int layer, int shard) { return absl::StrCat("forward-l", layer, "-s", shard); }
std::string AttendLabel(int layer, int shard) { return absl::StrCat("attend-l", layer, "-s", shard); }
std::string FeedLabel(int layer, int shard) { return absl::StrCat("feed-l", layer, "-s", shard); }
std::string SolveLabel(const Part& part) { return absl::StrCat("solve-l", part.layer, "-p", part.index); }
// Views, the API and task keys call the kind "resolve", one word, for as long as stored results count.
std::string ReSolveLabel(const Part& part) { return absl::StrCat("resolve-l", part.layer, "-p", part.index); }
std::string ProbeLabel(int layer, int round) {
  return round == 0 ? absl::StrCat("probe-l", layer) : absl::StrCat("probe-", round, "-l", layer);
}
std::string PredictLabel(int layer) { return absl::StrCat("predict-l", layer); }
std::string RefineLabel(int round) { return absl::StrCat("refine-", round); }
std::string EvaluateLabel(absl::string_view weights, int shard) {
  return absl::StrCat("evaluate-", weights, "-", shard);
}

std::string FoundPlanLabel(int search_rounds) {
  return search_rounds > 0 ? RefineLabel(search_rounds) : kAllocateLabel;
}

}  // namespace quantmoe
