#include "cli/comparison.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/exception_text.h"
#include "base/json.h"
#include "base/uniform_label.h"
#include "plan/options/heuristic_names.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

// Calls `read`, which may throw where the document has another shape. DATA_LOSS starts with `what`.
template <typename Read>
absl::Status ReadDocument(absl::string_view text, const std::string& what, const Read& read) {
  const absl::StatusOr<Json> parsed = ParseOrderedJson(text);
  if (!parsed.ok()) return absl::DataLossError(absl::StrCat(what, " ", parsed.status().message()));
  try {
    read(*parsed);
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(absl::StrCat(what, ": ", ExceptionText(error)));
  }
  return absl::OkStatus();
}

MeasuredChange ReadChange(const Json& score) {
  return {score.at("task").get<std::string>(),      score.at("metric").get<std::string>(),
          score.at("before").get<double>(),         score.at("after").get<double>(),
          score.at("interval").at(0).get<double>(), score.at("interval").at(1).get<double>()};
}

// Perplexity apart from the benchmarks.
void SplitScores(const Json& comparison, std::optional<MeasuredChange>& perplexity,
                 std::vector<MeasuredChange>* benchmarks) {
  for (const Json& score : comparison.at("scores")) {
    MeasuredChange change = ReadChange(score);
    if (change.task == "perplexity") {
      perplexity = std::move(change);
    } else if (benchmarks != nullptr) {
      benchmarks->push_back(std::move(change));
    }
  }
}

void ReadScores(const Json& scores, ComparedJob& job) {
  if (scores.contains("comparison")) SplitScores(scores.at("comparison"), job.perplexity, &job.benchmarks);
  if (!scores.contains("reference")) return;
  const Json& reference = scores.at("reference");
  SplitScores(reference.at("comparison"), job.against_uniform, nullptr);
  job.uniform_bytes = reference.at("weight_file_bytes").get<int64_t>();
  job.uniform_bits = reference.at("bits").get<int>();
  // Without perplexity there is none.
  const Json& verdict = scores.at("verdict");
  if (verdict.is_object()) job.verdict = verdict.at("recommends").get<std::string>();
}

// Of the plan that was published, which is the uniform one where the other did not win.
void ReadDivergence(const Json& plan, ComparedJob& job) {
  const auto verdict = plan.find("verdict");
  if (verdict == plan.end()) return;
  const bool published = verdict->at("plan_published").get<bool>();
  const Json& figures = verdict->at(published ? "plan" : "uniform");
  job.divergence = MeasuredDivergence{figures.at("mean").get<double>(),
                                      figures.at("cvar").get<double>(),
                                      figures.at("worst_window").get<double>(),
                                      figures.at("percentile_99").get<double>(),
                                      figures.at("percentile_999").get<double>(),
                                      figures.at("broken_windows").get<int64_t>(),
                                      figures.at("top1_flips").get<int64_t>(),
                                      verdict->at("tokens").get<int64_t>(),
                                      verdict->value("unseen", true)};
}

void ReadFigures(const Json& report, ComparedJob& job) {
  const Json& plan = report.at("plan");
  ReadDivergence(plan, job);
  job.average_bits = plan.at("average_bits").get<double>();
  job.loss = plan.at("loss").get<double>();
  job.objective = plan.at("objective").get<std::string>();
  job.weight_file_bytes = report.at("weight_file_bytes").get<int64_t>();
  ReadScores(report.at("scores"), job);
}

// `bits` of the linear `name`.
void AddLinear(const std::string& name, const Json& bits, ComparedJob& job) {
  const int width = bits.get<int>();
  job.width = job.widths.empty() || job.width == width ? width : 0;
  job.widths[name] = width;
}

// Widths of the plan, and losses at all widths where the plan is the one that weighs them.
void ReadLinears(const Json& report, ComparedJob& job, Comparison& comparison) {
  const bool weighs =
      report.at("plan").value("heuristic", "") == kOptimalHeuristic && comparison.losses.empty();
  for (const Json& linear : report.value("linears", Json::array())) {
    const std::string name = linear.at("name").get<std::string>();
    AddLinear(name, linear.at("bits"), job);
    if (!weighs || !linear.contains("widths")) continue;
    for (const auto& [key, facts] : linear.at("widths").items()) {
      int bits = 0;
      if (absl::SimpleAtoi(key, &bits)) comparison.losses[name][bits] = facts.at("loss").get<double>();
    }
  }
  if (weighs) comparison.objective = job.objective;
}

// The figure that decides within a budget; nothing when it cannot be compared.
std::optional<double> Decisive(const ComparedJob& job, bool by_perplexity) {
  if (!job.failure.empty()) return std::nullopt;
  if (!by_perplexity) return job.loss;
  return job.perplexity ? std::optional<double>(job.perplexity->after) : std::nullopt;
}

void MarkBestOf(const std::vector<ComparedJob*>& jobs) {
  const bool by_perplexity = std::any_of(jobs.begin(), jobs.end(),
                                         [](const ComparedJob* job) { return job->perplexity.has_value(); });
  std::set<std::string> objectives;
  std::optional<double> least;
  for (const ComparedJob* job : jobs) {
    const std::optional<double> figure = Decisive(*job, by_perplexity);
    if (figure) objectives.insert(job->objective);
    if (figure && (!least || *figure < *least)) least = figure;
  }
  if (!least || jobs.size() < 2 || (!by_perplexity && objectives.size() > 1)) return;
  for (ComparedJob* job : jobs) job->best = Decisive(*job, by_perplexity) == least;
}

Json ChangeJson(const MeasuredChange& change) {
  return {{"task", change.task},
          {"metric", change.metric},
          {"before", change.before},
          {"after", change.after},
          {"difference", change.after - change.before},
          {"interval", {change.low, change.high}}};
}

void AddFigures(const ComparedJob& job, Json& json) {
  json["average_bits"] = job.average_bits;
  json["weight_file_bytes"] = job.weight_file_bytes;
  json["loss"] = job.loss;
  json["objective"] = job.objective;
  if (job.perplexity) json["perplexity"] = ChangeJson(*job.perplexity);
  if (job.divergence) json["divergence"] = DivergenceJson(*job.divergence);
  json["benchmarks"] = Json::array();
  for (const MeasuredChange& change : job.benchmarks) json["benchmarks"].push_back(ChangeJson(change));
  if (job.against_uniform) {
    json["uniform"] = {{"plan", ReferenceName(job)},
                       {"weight_file_bytes", job.uniform_bytes},
                       {"perplexity", ChangeJson(*job.against_uniform)},
                       {"recommends", job.verdict}};
  }
  json["best"] = job.best;
}

}  // namespace

absl::Status ReadReport(absl::string_view job, absl::string_view report_json, ComparedJob& compared,
                        Comparison& comparison) {
  return ReadDocument(report_json, absl::StrCat("the report of ", job), [&](const Json& report) {
    ReadFigures(report, compared);
    ReadLinears(report, compared, comparison);
    comparison.original_bytes = report.at("original_bytes").get<int64_t>();
  });
}

absl::Status ReadArtifactFigures(absl::string_view plan_json, absl::string_view scores_json,
                                 ComparedJob& compared) {
  absl::Status read = ReadDocument(plan_json, "the plan", [&](const Json& plan) {
    ReadDivergence(plan, compared);
    compared.average_bits = plan.at("average_bits").get<double>();
    compared.loss = plan.at("distortion").get<double>();
    compared.objective = plan.value("objective", "");
    compared.weight_file_bytes = plan.at("weight_file_bytes").get<int64_t>();
    for (const Json& planned : plan.at("linears")) {
      AddLinear(planned.at("linear").at("name").get<std::string>(), planned.at("bits"), compared);
    }
  });
  if (!read.ok() || scores_json.empty()) return read;
  return ReadDocument(scores_json, "the scores", [&](const Json& scores) { ReadScores(scores, compared); });
}

void AlignLosses(Comparison& comparison) {
  for (ComparedJob& job : comparison.jobs) {
    double loss = 0;
    bool known = !job.widths.empty();
    for (const auto& [name, bits] : job.widths) {
      const auto linear = comparison.losses.find(name);
      known = known && linear != comparison.losses.end() && linear->second.count(bits) == 1;
      if (!known) break;
      loss += linear->second.at(bits);
    }
    if (!known) continue;
    job.loss = loss;
    job.objective = comparison.objective;
  }
}

void NamePlans(Comparison& comparison) {
  std::map<std::string, double> spent;  // by budget
  for (const ComparedJob& job : comparison.jobs)
    spent[job.budget] = std::max(spent[job.budget], job.average_bits);
  for (ComparedJob& job : comparison.jobs) {
    const bool uniform = job.heuristic == kUniformHeuristic && job.failure.empty();
    job.plan = uniform ? UniformLabel(job.width, job.average_bits, spent[job.budget]) : job.heuristic;
  }
}

std::string ReferenceName(const ComparedJob& job) {
  return UniformLabel(job.uniform_bits, job.uniform_bits, job.average_bits);
}

void MarkBest(Comparison& comparison) {
  std::map<std::string, std::vector<ComparedJob*>> budgets;
  for (ComparedJob& job : comparison.jobs) budgets[job.budget].push_back(&job);
  for (const auto& [budget, jobs] : budgets) MarkBestOf(jobs);
}

nlohmann::ordered_json DivergenceJson(const MeasuredDivergence& divergence) {
  return {{"mean", divergence.mean},
          {"cvar", divergence.cvar},
          {"worst_window", divergence.worst_window},
          {"percentile_99", divergence.percentile_99},
          {"percentile_999", divergence.percentile_999},
          {"broken_windows", divergence.broken_windows},
          {"top1_flips", divergence.top1_flips},
          {"tokens", divergence.tokens},
          {"unseen", divergence.unseen}};
}

std::string ComparisonJson(const Comparison& comparison) {
  Json json = {{"format", "quantmoe.comparison"},
               {"version", 1},
               {"model", comparison.model},
               {"original_bytes", comparison.original_bytes},
               {"jobs", Json::array()}};
  for (const ComparedJob& job : comparison.jobs) {
    Json row = {{"heuristic", job.heuristic}, {"plan", job.plan}, {"budget", job.budget}, {"job", job.job}};
    if (job.failure.empty()) {
      AddFigures(job, row);
    } else {
      row["failure"] = job.failure;
    }
    row["tasks"] = job.tasks;
    row["reused"] = job.reused;
    row["worker_seconds"] = job.worker_seconds;
    row["wall_seconds"] = job.wall_seconds;
    json["jobs"].push_back(std::move(row));
  }
  // Messages of a server need not be UTF-8.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace quantmoe
