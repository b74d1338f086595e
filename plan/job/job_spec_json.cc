#include "plan/job/job_spec_json.h"

#include <stdexcept>

#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

using nlohmann::json;

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json TasksJson(const std::vector<BenchmarkTaskSpec>& tasks) {
  json out = json::array();
  for (const BenchmarkTaskSpec& task : tasks) {
    json& item = out.emplace_back(json{{"name", task.name},
                                       {"data", DigestJson(task.data)},
                                       {"fewshot_data", DigestJson(task.fewshot_data)}});
    if (task.limit > 0) item["limit"] = task.limit;  // absent, so that keys of tasks without it stay
  }
  return out;
}

// Absent and null keep the default.
template <typename T>
void Read(const json& object, const char* key, T& field) {
  if (object.contains(key) && !object[key].is_null()) field = object[key].get<T>();
}
template <typename T>
void Read(const json& object, const char* key, std::optional<T>& field) {
  if (object.contains(key) && !object[key].is_null()) field = object[key].get<T>();
}
void Read(const json& object, const char* key, Digest& field) {
  if (object.contains(key) && !object[key].is_null()) field = DigestFromJson(object[key]);
}

void ReadGptq(const json& from, GptqSpec& gptq) {
  Read(from, "group_size", gptq.group_size);
  Read(from, "widths", gptq.widths);
  Read(from, "damp", gptq.damp);
  Read(from, "min_tokens_ratio", gptq.min_tokens_ratio);
  Read(from, "max_fallback_ratio", gptq.max_fallback_ratio);
  Read(from, "gate_weighted", gptq.gate_weighted);
  Read(from, "shrinkage", gptq.shrinkage);
  Read(from, "all_tokens", gptq.all_tokens);
  if (from.contains("order")) {
    const auto order = ParseColumnOrder(from["order"].get<std::string>());
    if (!order.ok()) throw std::invalid_argument(std::string(order.status().message()));
    gptq.order = *order;
  }
  if (from.contains("scales")) {
    const auto scales = ParseScaleRule(from["scales"].get<std::string>());
    if (!scales.ok()) throw std::invalid_argument(std::string(scales.status().message()));
    gptq.scales = *scales;
  }
  if (from.contains("propagation")) {
    const auto propagation = ParsePropagation(from["propagation"].get<std::string>());
    if (!propagation.ok()) throw std::invalid_argument(std::string(propagation.status().message()));
    gptq.propagation = *propagation;
  }
  Read(from, "correction", gptq.correction);
}

void ReadCalibration(const json& from, CalibrationSpec& calibration) {
  Read(from, "text", calibration.text);
  Read(from, "samples", calibration.samples);
  Read(from, "sequence_length", calibration.sequence_length);
  Read(from, "shard_sequences", calibration.shard_sequences);
  if (from.contains("states")) {
    const auto states = ParseStateType(from["states"].get<std::string>());
    if (!states.ok()) throw std::invalid_argument(std::string(states.status().message()));
    calibration.states = *states;
  }
}

void ReadEvaluation(const json& from, EvaluationSpec& evaluation) {
  Read(from, "skip", evaluation.skip);
  Read(from, "perplexity_text", evaluation.perplexity_text);
  Read(from, "window", evaluation.window);
  Read(from, "add_bos", evaluation.add_bos);
  for (const json& item : from.value("tasks", json::array())) {
    BenchmarkTaskSpec task;
    Read(item, "name", task.name);
    Read(item, "data", task.data);
    Read(item, "fewshot_data", task.fewshot_data);
    Read(item, "limit", task.limit);
    evaluation.tasks.push_back(std::move(task));
  }
}

// Every key of `given` must be one that is written; what the keys of `params` mean is the heuristic's affair.
void RefuseUnknownKeys(const json& given, const json& known, const std::string& path) {
  if (given.is_array() && known.is_array()) {
    for (size_t i = 0; i < given.size() && i < known.size(); ++i) {
      RefuseUnknownKeys(given[i], known[i], absl::StrCat(path, "[", i, "]"));
    }
  }
  if (!given.is_object() || path == ".heuristic.params") return;
  for (const auto& [key, value] : given.items()) {
    const std::string below = absl::StrCat(path, ".", key);
    if (!known.is_object() || !known.contains(key)) throw std::invalid_argument("unknown key " + below);
    if (!known[key].is_null()) RefuseUnknownKeys(value, known[key], below);
  }
}

JobSpec SpecFromJson(const json& from) {
  if (!from.is_object()) throw std::invalid_argument("not an object");
  const auto part = [&from](const char* key) { return from.value(key, json::object()); };
  JobSpec spec;
  Read(from, "model_uri", spec.model_uri);
  spec.budget = BudgetFromJson(part("budget"));
  Read(part("heuristic"), "name", spec.heuristic);
  Read(part("heuristic"), "params", spec.heuristic_params);
  ReadGptq(part("gptq"), spec.gptq);
  ReadCalibration(part("calibration"), spec.calibration);
  ReadEvaluation(part("evaluation"), spec.evaluation);
  Read(from, "runtime_profile", spec.runtime_profile);
  spec.rules = RulesFromJson(from.value("rules", json::array()));
  Read(part("refinement"), "rounds", spec.refinement.rounds);
  Read(part("refinement"), "trials", spec.refinement.trials);
  RefuseUnknownKeys(from, JobSpecJson(spec), "");
  return spec;
}

}  // namespace

json BudgetJson(const Budget& budget) {
  json rank_bytes;
  if (budget.rank_bytes) {
    rank_bytes = {{"max_bytes", budget.rank_bytes->max_bytes}, {"ranks", budget.rank_bytes->ranks}};
  }
  return {{"average_bits", OrNull(budget.average_bits)},
          {"max_bytes", OrNull(budget.max_bytes)},
          {"stored_bits", OrNull(budget.stored_bits)},
          {"rank_bytes", std::move(rank_bytes)}};
}

Budget BudgetFromJson(const json& from) {
  Budget budget;
  Read(from, "average_bits", budget.average_bits);
  Read(from, "max_bytes", budget.max_bytes);
  Read(from, "stored_bits", budget.stored_bits);
  if (from.contains("rank_bytes") && !from["rank_bytes"].is_null()) {
    const json& ranks = from["rank_bytes"];
    budget.rank_bytes = {ranks.at("max_bytes").get<int64_t>(), ranks.at("ranks").get<int>()};
  }
  return budget;
}

json RulesJson(const std::vector<WidthRule>& rules) {
  json out = json::array();
  for (const WidthRule& rule : rules) {
    out.push_back({{"pattern", rule.pattern},
                   {"min_bits", rule.min_bits},
                   {"max_bits", rule.max_bits},
                   {"protect", rule.protect}});
  }
  return out;
}

std::vector<WidthRule> RulesFromJson(const json& from) {
  std::vector<WidthRule> rules;
  for (const json& item : from) {
    WidthRule& rule = rules.emplace_back();
    Read(item, "pattern", rule.pattern);
    Read(item, "min_bits", rule.min_bits);
    Read(item, "max_bits", rule.max_bits);
    Read(item, "protect", rule.protect);
  }
  return rules;
}

json JobSpecJson(const JobSpec& spec) {
  const GptqSpec& gptq = spec.gptq;
  const CalibrationSpec& calibration = spec.calibration;
  const EvaluationSpec& evaluation = spec.evaluation;
  return {{"model_uri", spec.model_uri},
          {"budget", BudgetJson(spec.budget)},
          {"heuristic", {{"name", spec.heuristic}, {"params", json(spec.heuristic_params)}}},
          {"gptq",
           {{"group_size", gptq.group_size},
            {"widths", json(gptq.widths)},
            {"damp", gptq.damp},
            {"order", std::string(ColumnOrderName(gptq.order))},
            {"scales", std::string(ScaleRuleName(gptq.scales))},
            {"min_tokens_ratio", gptq.min_tokens_ratio},
            {"max_fallback_ratio", gptq.max_fallback_ratio},
            {"gate_weighted", gptq.gate_weighted},
            {"shrinkage", gptq.shrinkage},
            {"all_tokens", json(gptq.all_tokens)},
            {"propagation", std::string(PropagationName(gptq.propagation))},
            {"correction", gptq.correction}}},
          {"calibration",
           {{"text", DigestJson(calibration.text)},
            {"samples", calibration.samples},
            {"sequence_length", calibration.sequence_length},
            {"shard_sequences", calibration.shard_sequences},
            {"states", std::string(StateTypeName(calibration.states))}}},
          {"evaluation",
           {{"skip", evaluation.skip},
            {"perplexity_text", DigestJson(evaluation.perplexity_text)},
            {"window", evaluation.window},
            {"tasks", TasksJson(evaluation.tasks)},
            {"add_bos", OrNull(evaluation.add_bos)}}},
          {"runtime_profile", spec.runtime_profile},
          {"rules", RulesJson(spec.rules)},
          {"refinement", {{"rounds", spec.refinement.rounds}, {"trials", spec.refinement.trials}}}};
}

std::string JobSpecToJson(const JobSpec& spec) { return JobSpecJson(spec).dump(); }

absl::StatusOr<JobSpec> JobSpecFromJson(absl::string_view text) {
  return DecodeJson<JobSpec>(text, "job spec", SpecFromJson);
}

}  // namespace quantmoe
