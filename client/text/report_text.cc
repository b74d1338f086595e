#include "client/text/report_text.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include <nlohmann/json.hpp>

#include "base/byte_size.h"
#include "base/json.h"
#include "base/uniform_label.h"
#include "client/text/format.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

// The member at a path, or null.
const Json& At(const Json& value, std::initializer_list<const char*> path) {
  static const Json& null = *new Json();
  const Json* current = &value;
  for (const char* key : path) {
    if (!current->is_object() || !current->contains(key)) return null;
    current = &(*current)[key];
  }
  return *current;
}

std::string Text(const Json& value) { return value.is_string() ? value.get<std::string>() : ""; }

std::optional<double> Number(const Json& value) {
  return value.is_number() ? std::optional<double>(value.get<double>()) : std::nullopt;
}

int64_t Integer(const Json& value) {
  return value.is_number() ? static_cast<int64_t>(value.get<double>()) : 0;
}

std::string Size(const Json& value) { return value.is_number() ? FormatByteSize(Integer(value)) : ""; }

std::string Section(absl::string_view title, const std::string& body) {
  return body.empty() ? "" : absl::StrCat("\n", title, "\n", body);
}

void AddFact(TextTable& table, const std::string& name, const std::string& value) {
  if (!value.empty()) table.AddRow({name, value});
}

std::string ModelText(const Json& model) {
  if (model.is_string()) return model.get<std::string>();
  for (const char* key : {"uri", "name"}) {
    if (const std::string text = Text(At(model, {key})); !text.empty()) return text;
  }
  return "";
}

// "3.02 bits average, 3.31 stored" of a plan.
std::string BitsText(const Json& plan) {
  const auto average = Number(At(plan, {"average_bits"}));
  const auto stored = Number(At(plan, {"stored_bits"}));
  std::string text = average ? absl::StrFormat("%.4f bits on average", *average) : "";
  if (stored) absl::StrAppend(&text, text.empty() ? "" : ", ", absl::StrFormat("%.4f with scales", *stored));
  return text;
}

std::string SizeText(const Json& report) {
  const Json& before = At(report, {"original_bytes"});
  const Json& after = At(report, {"weight_file_bytes"});
  if (!before.is_number() || !after.is_number()) return Size(after);
  std::string text = absl::StrCat(Size(before), " -> ", Size(after));
  if (Integer(before) > 0) {
    absl::StrAppendFormat(&text, "  (%.1f%%)", 100.0 * static_cast<double>(Integer(after)) / Integer(before));
  }
  return text;
}

std::string LossText(const Json& plan) {
  const auto loss = Number(At(plan, {"loss"}));
  if (!loss) return "";
  std::string text = FormatNumber(*loss, 6);
  const auto bound = Number(At(plan, {"lower_bound"}));
  if (bound && *bound > 0)
    absl::StrAppend(&text, "  (no plan in this budget is below ", FormatNumber(*bound, 6), ")");
  const auto free = Number(At(plan, {"unconstrained_loss"}));
  if (free && *free > 0)
    absl::StrAppendFormat(&text, "; %s without the profile's constraints (%+.1f%%)", FormatNumber(*free, 6),
                          100 * (*loss - *free) / *free);
  return text;
}

std::string Summary(const Json& report) {
  TextTable table({{""}, {""}});
  const Json& job = At(report, {"job"});
  AddFact(table, "job", job.is_object() ? Text(At(job, {"name"})) : Text(job));
  std::string model = ModelText(At(report, {"model"}));
  if (model.empty()) model = Text(At(report, {"spec", "model", "uri"}));
  if (model.empty()) model = Text(At(report, {"spec", "model"}));
  AddFact(table, "model", model);
  AddFact(table, "family", Text(At(report, {"model", "family"})));
  AddFact(table, "artifact", Text(At(report, {"artifact", "path"})));
  AddFact(table, "weights", SizeText(report));
  AddFact(table, "heuristic", Text(At(report, {"plan", "heuristic"})));
  AddFact(table, "widths", BitsText(At(report, {"plan"})));
  AddFact(table, "loss", LossText(At(report, {"plan"})));
  return table.Render();
}

// "3" or "2,3,4,8"; empty for what is no plain value.
std::string PlainText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return value.dump();
  if (!value.is_array()) return "";
  std::vector<std::string> items;
  for (const Json& item : value)
    items.push_back(item.is_object() ? Text(At(item, {"name"})) : PlainText(item));
  return absl::StrJoin(items, ",");
}

// What the job was run with, every default filled in: a row for each part of the spec.
std::string Settings(const Json& report) {
  TextTable table({{""}, {""}});
  for (const char* part : {"gptq", "calibration", "evaluation"}) {
    const Json& values = At(report, {"spec", part});
    if (!values.is_object()) continue;
    std::vector<std::string> texts;
    for (const auto& [name, value] : values.items()) {
      if (const std::string text = PlainText(value); !text.empty())
        texts.push_back(absl::StrCat(name, " ", text));
    }
    AddFact(table, part, absl::StrJoin(texts, ", "));
  }
  AddFact(table, "profile", Text(At(report, {"spec", "runtime_profile"})));
  return table.empty() ? "" : table.Render(2);
}

std::string WithError(const std::optional<double>& value, const std::optional<double>& error, double scale) {
  if (!value) return "-";
  if (!error) return absl::StrFormat("%.2f", *value * scale);
  return absl::StrFormat("%.2f ± %.2f", *value * scale, *error * scale);
}

std::string Change(const std::optional<double>& before, const std::optional<double>& after, double scale) {
  return before && after ? absl::StrFormat("%+.2f", (*after - *before) * scale) : "";
}

// "[-0.30, +0.55]": where the change lies, by resampling what both were asked.
std::string IntervalText(const Json& comparison, const std::string& task, const std::string& metric,
                         double scale) {
  const Json& scores = At(comparison, {"scores"});
  if (!scores.is_array()) return "";
  for (const Json& score : scores) {
    if (Text(At(score, {"task"})) != task || Text(At(score, {"metric"})) != metric) continue;
    const Json& interval = At(score, {"interval"});
    if (!interval.is_array() || interval.size() != 2) return "";
    const auto low = Number(interval[0]), high = Number(interval[1]);
    return low && high ? absl::StrFormat("[%+.2f, %+.2f]", *low * scale, *high * scale) : "";
  }
  return "";
}

struct Metric {
  const char* key;
  const char* title;
  double scale;
};
constexpr Metric kMetrics[] = {{"acc", "acc %", 100},
                               {"acc_norm", "acc_norm %", 100},
                               {"perplexity", "perplexity", 1},
                               {"word_perplexity", "word_perplexity", 1},
                               {"byte_perplexity", "byte_perplexity", 1},
                               {"bits_per_byte", "bits_per_byte", 1}};

void AddScore(TextTable& table, const std::string& name, const Metric& metric, const Json& before,
              const Json& after, const Json& comparison) {
  const std::string error = absl::StrCat(metric.key, "_stderr");
  const auto old_value = Number(At(before, {metric.key}));
  const auto new_value = Number(At(after, {metric.key}));
  if (!old_value && !new_value) return;
  const Json& items = At(after, {"items"}).is_number() ? At(after, {"items"}) : At(before, {"items"});
  table.AddRow({name, metric.title, WithError(old_value, Number(At(before, {error.c_str()})), metric.scale),
                WithError(new_value, Number(At(after, {error.c_str()})), metric.scale),
                Change(old_value, new_value, metric.scale),
                IntervalText(comparison, name, metric.key, metric.scale),
                items.is_number() ? FormatCount(Integer(items)) : ""});
}

// A uniform plan that leaves much of the budget unspent says little about a plan that does not.
std::string ReferenceNote(const Json& scores, const Json& plan_bytes) {
  const auto reference = Number(At(scores, {"reference", "weight_file_bytes"})), spent = Number(plan_bytes);
  if (!reference || !spent || *reference >= 0.99 * *spent) return "";
  return absl::StrFormat(
      "  That uniform plan has %.0f%% fewer bytes; %s is the control of equal bytes (quantmoe compare).\n",
      100 * (1 - *reference / *spent), kEqualBytesControl);
}

std::string Scores(const Json& scores, const Json& plan_bytes) {
  const Json& before = At(scores, {"original"});
  const Json& after = At(scores, {"planned"});
  const Json& comparison = At(scores, {"comparison"});
  TextTable table({{"BENCHMARK"},
                   {"METRIC"},
                   {"ORIGINAL", Align::kRight},
                   {"QUANTIZED", Align::kRight},
                   {"CHANGE", Align::kRight},
                   {"95% INTERVAL", Align::kRight},
                   {"ITEMS", Align::kRight}});
  const auto old_perplexity = Number(At(before, {"perplexity", "value"}));
  const auto new_perplexity = Number(At(after, {"perplexity", "value"}));
  if (old_perplexity || new_perplexity) {
    const Json& tokens = At(after, {"perplexity", "tokens"});
    table.AddRow({"perplexity", "value", old_perplexity ? FormatNumber(*old_perplexity, 5) : "-",
                  new_perplexity ? FormatNumber(*new_perplexity, 5) : "-",
                  Change(old_perplexity, new_perplexity, 1),
                  IntervalText(comparison, "perplexity", "value", 1),
                  tokens.is_number() ? absl::StrCat(FormatCount(Integer(tokens)), " tokens") : ""});
  }
  std::set<std::string> names;
  for (const Json* side : {&before, &after}) {
    for (const auto& [name, score] : At(*side, {"tasks"}).items()) names.insert(name);
  }
  for (const std::string& name : names) {
    const Json& old_score = At(before, {"tasks", name.c_str()});
    const Json& new_score = At(after, {"tasks", name.c_str()});
    for (const Metric& metric : kMetrics) AddScore(table, name, metric, old_score, new_score, comparison);
  }
  const std::string verdict = Text(At(scores, {"verdict", "text"}));
  return absl::StrCat(
      table.empty() ? "" : table.Render(2),
      verdict.empty() ? "" : absl::StrCat("  ", verdict, "\n", ReferenceNote(scores, plan_bytes)));
}

// Widths in ascending order, whatever the order of the keys.
std::vector<int> WidthsOf(const Json& histogram) {
  std::set<int> widths;
  for (const auto& [kind, counts] : histogram.items()) {
    for (const auto& [width, count] : counts.items()) {
      int bits = 0;
      if (absl::SimpleAtoi(width, &bits)) widths.insert(bits);
    }
  }
  return {widths.begin(), widths.end()};
}

std::string Histogram(const Json& histogram) {
  if (!histogram.is_object() || histogram.empty()) return "";
  const std::vector<int> widths = WidthsOf(histogram);
  std::vector<Column> columns = {{"KIND"}, {"LINEARS", Align::kRight}};
  for (const int width : widths) {
    columns.push_back({absl::StrCat(width, " BIT"), Align::kRight});
    columns.push_back({"", Align::kLeft});
  }
  TextTable table(columns);
  for (const auto& [kind, counts] : histogram.items()) {
    int64_t total = 0;
    for (const int width : widths) total += Integer(At(counts, {absl::StrCat(width).c_str()}));
    std::vector<Cell> cells = {kind, FormatCount(total)};
    for (const int width : widths) {
      const int64_t count = Integer(At(counts, {absl::StrCat(width).c_str()}));
      cells.push_back(FormatCount(count));
      cells.push_back(total > 0 ? Bar(static_cast<double>(count) / static_cast<double>(total), 8) : "");
    }
    table.AddRow(std::move(cells));
  }
  return table.Render(2);
}

std::string FallbackReason(const Json& linear) {
  const Json& fallback = At(linear, {"fallback"});
  if (fallback.is_boolean()) return fallback.get<bool>() ? "rounded to nearest" : "";
  const std::string reason = Text(fallback);
  return reason == "none" ? "" : reason;
}

std::string Fallbacks(const Json& linears) {
  if (!linears.is_array()) return "";
  constexpr int kShown = 10;
  std::map<std::string, int> reasons;
  TextTable table({{""}, {""}, {"", Align::kRight}});
  int fallbacks = 0;
  for (const Json& linear : linears) {
    const std::string reason = FallbackReason(linear);
    if (reason.empty()) continue;
    ++reasons[reason];
    if (++fallbacks <= kShown) {
      table.AddRow({Text(At(linear, {"name"})), reason,
                    absl::StrCat(FormatCount(Integer(At(linear, {"tokens"}))), " tokens")});
    }
  }
  std::string text = absl::StrFormat("  %d of %d linears\n", fallbacks, linears.size());
  for (const auto& [reason, count] : reasons)
    absl::StrAppend(&text, "  ", count, "  ", Printable(reason), "\n");
  absl::StrAppend(&text, table.Render(4));
  if (fallbacks > kShown) absl::StrAppend(&text, "    and ", fallbacks - kShown, " more; see --linears\n");
  return text;
}

std::string Stages(const Json& stages) {
  if (!stages.is_array() || stages.empty()) return "";
  double total = 0;
  for (const Json& stage : stages) total += Number(At(stage, {"task_seconds"})).value_or(0);
  TextTable table({{"STAGE"},
                   {"TASKS", Align::kRight},
                   {"CACHED", Align::kRight},
                   {"WALL", Align::kRight},
                   {"WORKERS", Align::kRight},
                   {""}});
  for (const Json& stage : stages) {
    const double seconds = Number(At(stage, {"task_seconds"})).value_or(0);
    table.AddRow({Text(At(stage, {"stage"})), FormatCount(Integer(At(stage, {"tasks"}))),
                  FormatCount(Integer(At(stage, {"cached"}))),
                  FormatSeconds(Number(At(stage, {"wall_seconds"})).value_or(0)), FormatSeconds(seconds),
                  total > 0 ? Bar(seconds / total, 16) : ""});
  }
  return table.Render(2);
}

// The facts of a linear at the width that the plan chose.
std::string Linears(const Json& linears) {
  if (!linears.is_array() || linears.empty()) return "";
  TextTable table({{"LINEAR"},
                   {"KIND"},
                   {"BITS", Align::kRight},
                   {"TOKENS", Align::kRight},
                   {"METHOD"},
                   {"LOSS", Align::kRight},
                   {"DISTORTION", Align::kRight},
                   {"RELATIVE", Align::kRight},
                   {"FALLBACK"}});
  for (const Json& linear : linears) {
    const std::string bits = absl::StrCat(Integer(At(linear, {"bits"})));
    const auto loss = Number(At(linear, {"loss"}));
    const auto distortion = Number(At(linear, {"widths", bits.c_str(), "distortion"}));
    const auto relative = Number(At(linear, {"widths", bits.c_str(), "relative_error"}));
    table.AddRow({Text(At(linear, {"name"})), Text(At(linear, {"kind"})), bits,
                  FormatCount(Integer(At(linear, {"tokens"}))), Text(At(linear, {"method"})),
                  loss ? FormatNumber(*loss, 4) : "-", distortion ? FormatNumber(*distortion, 4) : "-",
                  relative ? FormatNumber(*relative, 4) : "-", FallbackReason(linear)});
  }
  return table.Render(2);
}

}  // namespace

absl::StatusOr<std::string> RenderReport(absl::string_view json, const ReportOptions& options) {
  const Json report = ParseOrderedJson(json).value_or(nullptr);
  if (!report.is_object()) return absl::DataLossError("the report of the server is no JSON object");
  std::string text = Summary(report);
  absl::StrAppend(&text,
                  Section("Scores", Scores(At(report, {"scores"}), At(report, {"weight_file_bytes"}))));
  absl::StrAppend(&text, Section("Widths by kind of linear", Histogram(At(report, {"plan", "histogram"}))));
  absl::StrAppend(&text, Section("Rounded to nearest instead of solved", Fallbacks(At(report, {"linears"}))));
  absl::StrAppend(&text, Section("Settings", Settings(report)));
  absl::StrAppend(&text, Section("Time", Stages(At(report, {"stages"}))));
  if (options.linears) absl::StrAppend(&text, Section("Linears", Linears(At(report, {"linears"}))));
  return text;
}

}  // namespace quantmoe
