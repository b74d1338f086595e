#include <nlohmann/json.hpp>

#include "quant/evaluate/scores.h"

namespace quantmoe {
namespace {

using nlohmann::json;

void PutAccuracy(const char* name, const Accuracy& accuracy, json& out) {
  out[name] = accuracy.value;
  out[std::string(name) + "_stderr"] = accuracy.standard_error;
}

void PutGroups(const char* name, const std::map<std::string, GroupScore>& groups, json& out) {
  for (const auto& [group, score] : groups) {
    json& entry = out[name][group];
    entry["items"] = score.items;
    PutAccuracy("acc", score.acc, entry);
  }
}

json ToJson(const TaskScore& task) {
  json out{{"items", task.items}};
  if (task.acc) PutAccuracy("acc", *task.acc, out);
  if (task.acc_norm) PutAccuracy("acc_norm", *task.acc_norm, out);
  for (const auto& [name, value] : task.perplexities) out[name] = value;
  PutGroups("groups", task.groups, out);
  PutGroups("categories", task.categories, out);
  return out;
}

json ToJson(const ItemScore& item) {
  json out{{"task", item.task}, {"item", item.item}, {"tokens", item.tokens}};
  if (item.prediction) out.update({{"gold", item.gold}, {"prediction", *item.prediction}});
  if (item.prediction || item.scoring == Scoring::kLastWord) out["correct"] = item.correct();
  if (!item.group.empty()) out["group"] = item.group;
  if (item.prediction_norm) out["prediction_norm"] = *item.prediction_norm;
  if (item.scoring == Scoring::kRolling) out.update({{"words", item.words}, {"bytes", item.bytes}});
  for (const TargetScore& choice : item.choices) {
    out["log_likelihoods"].push_back(choice.log_likelihood);
    out["greedy"].push_back(choice.greedy);
  }
  return out;
}

}  // namespace

std::string ScoresToJson(const EvalReport& report) {
  json out{{"tasks", json::object()}, {"truncated", report.truncated}};
  for (const TaskScore& task : report.tasks) out["tasks"][task.name] = ToJson(task);
  if (report.perplexity) {
    const PerplexityScore& perplexity = *report.perplexity;
    out["perplexity"] = {
        {"value", perplexity.value}, {"tokens", perplexity.tokens}, {"windows", perplexity.windows}};
  }
  return out.dump();
}

std::string ItemsToJsonLines(const EvalReport& report, const std::string& weights) {
  std::string lines;
  for (const ItemScore& item : report.items) {
    json line = ToJson(item);
    if (!weights.empty()) line["weights"] = weights;
    lines += line.dump() + "\n";
  }
  return lines;
}

}  // namespace quantmoe
