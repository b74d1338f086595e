#include <nlohmann/json.hpp>

#include "quant/evaluate/scores.h"

namespace quantmoe {
namespace {

using nlohmann::json;

void PutAccuracy(const char* name, const Accuracy& accuracy, json& out) {
  out[name] = accuracy.value;
  out[std::string(name) + "_stderr"] = accuracy.standard_error;
}

json ToJson(const TaskScore& task) {
  json out{{"items", task.items}};
  PutAccuracy("acc", task.acc, out);
  if (task.acc_norm) PutAccuracy("acc_norm", *task.acc_norm, out);
  for (const auto& [name, group] : task.groups) {
    json& entry = out["groups"][name];
    entry["items"] = group.items;
    PutAccuracy("acc", group.acc, entry);
  }
  return out;
}

json ToJson(const ItemScore& item) {
  json out{{"task", item.task}, {"item", item.item}, {"gold", item.gold}, {"prediction", item.prediction}};
  if (!item.group.empty()) out["group"] = item.group;
  if (item.prediction_norm) out["prediction_norm"] = *item.prediction_norm;
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

std::string ItemsToJsonLines(const EvalReport& report) {
  std::string lines;
  for (const ItemScore& item : report.items) lines += ToJson(item).dump() + "\n";
  return lines;
}

}  // namespace quantmoe
