#include "client/text/plan_diff.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include <nlohmann/json.hpp>

#include "base/exception_text.h"
#include "base/json.h"
#include "client/text/format.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

ComparedLinear ReadLinear(const Json& item) {
  // A plan nests what a report keeps beside the width, and calls the loss a distortion.
  const bool of_plan = item.contains("linear");
  const Json& shape = of_plan ? item.at("linear") : item;
  return {shape.at("name").get<std::string>(), shape.at("kind").get<std::string>(),
          shape.at("layer").get<int>(),        shape.at("out").get<int64_t>() * shape.at("in").get<int64_t>(),
          item.at("bits").get<int>(),          item.at(of_plan ? "distortion" : "loss").get<double>()};
}

ComparedPlan ReadPlan(const std::string& title, const Json& document) {
  const Json& figures = document.contains("plan") ? document.at("plan") : document;
  ComparedPlan plan;
  plan.title = title;
  plan.heuristic = figures.value("heuristic", "");
  plan.objective = figures.value("objective", "measured");
  plan.average_bits = figures.value("average_bits", 0.0);
  plan.bytes = document.value("weight_file_bytes", int64_t{0});
  for (const Json& item : document.at("linears")) plan.linears.push_back(ReadLinear(item));
  std::sort(plan.linears.begin(), plan.linears.end(),
            [](const ComparedLinear& a, const ComparedLinear& b) { return a.name < b.name; });
  return plan;
}

struct Change {
  int linears = 0, up = 0, down = 0;
  double weights = 0, bits_a = 0, bits_b = 0, loss_a = 0, loss_b = 0;

  void Add(const ComparedLinear& a, const ComparedLinear& b) {
    ++linears;
    up += b.width > a.width ? 1 : 0;
    down += b.width < a.width ? 1 : 0;
    weights += static_cast<double>(a.weights);
    bits_a += static_cast<double>(a.weights * a.width);
    bits_b += static_cast<double>(b.weights * b.width);
    loss_a += a.loss;
    loss_b += b.loss;
  }
  Json ToJson() const {
    return {{"linears", linears},
            {"raised", up},
            {"lowered", down},
            {"average_bits", {bits_a / weights, bits_b / weights}},
            {"loss", {loss_a, loss_b}}};
  }
};

Json PlanJson(const ComparedPlan& plan) {
  return {{"title", plan.title},
          {"heuristic", plan.heuristic},
          {"objective", plan.objective},
          {"average_bits", plan.average_bits},
          {"weight_file_bytes", plan.bytes}};
}

std::string Pair(const Json& values, int digits) {
  return absl::StrCat(FormatNumber(values[0].get<double>(), digits), " -> ",
                      FormatNumber(values[1].get<double>(), digits));
}

std::string RenderChanges(const Json& changes, const char* title) {
  TextTable table({{title},
                   {"LINEARS", Align::kRight},
                   {"RAISED", Align::kRight},
                   {"LOWERED", Align::kRight},
                   {"BITS", Align::kRight},
                   {"LOSS", Align::kRight}});
  for (const auto& [key, change] : changes.items()) {
    table.AddRow({key, FormatCount(change.at("linears").get<int64_t>()),
                  FormatCount(change.at("raised").get<int64_t>()),
                  FormatCount(change.at("lowered").get<int64_t>()), Pair(change.at("average_bits"), 4),
                  Pair(change.at("loss"), 4)});
  }
  return table.Render();
}

std::string Percent(double a, double b) {
  return a > 0 ? absl::StrFormat("  (%+.2f%%)", 100 * (b - a) / a) : "";
}

std::string RenderTotals(const Json& diff) {
  const Json &a = diff.at("a"), &b = diff.at("b"), &total = diff.at("total");
  TextTable table({{""}, {""}});
  for (const char* side : {"a", "b"}) {
    table.AddRow({side, absl::StrCat(diff.at(side).at("title").get<std::string>(), "  ",
                                     diff.at(side).at("heuristic").get<std::string>())});
  }
  const auto bytes_a = a.at("weight_file_bytes").get<int64_t>(),
             bytes_b = b.at("weight_file_bytes").get<int64_t>();
  if (bytes_a > 0 && bytes_b > 0) {
    table.AddRow(
        {"bytes", absl::StrCat(FormatCount(bytes_a), " -> ", FormatCount(bytes_b),
                               Percent(static_cast<double>(bytes_a), static_cast<double>(bytes_b)))});
  }
  table.AddRow({"average bits", Pair(total.at("average_bits"), 6)});
  const double loss_a = total.at("loss")[0].get<double>(), loss_b = total.at("loss")[1].get<double>();
  const bool comparable = a.at("objective") == b.at("objective");
  table.AddRow({"loss", comparable ? absl::StrCat(Pair(total.at("loss"), 6), Percent(loss_a, loss_b))
                                   : "not comparable: the plans add up different losses"});
  table.AddRow({"changed", absl::StrFormat("%d of %d linears", diff.at("changes").size(),
                                           total.at("linears").get<int>())});
  return table.Render();
}

}  // namespace

absl::StatusOr<ComparedPlan> ReadComparedPlan(const std::string& title, absl::string_view json) {
  const absl::StatusOr<Json> parsed = ParseOrderedJson(json);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(title, " is neither a plan nor a report: ", parsed.status().message()));
  }
  try {
    return ReadPlan(title, *parsed);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(title, " is neither a plan nor a report: ", ExceptionText(error)));
  }
}

absl::StatusOr<std::string> PlanDiffJson(const ComparedPlan& a, const ComparedPlan& b) {
  if (a.linears.empty() || a.linears.size() != b.linears.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(a.title, " has ", a.linears.size(), " linears, ", b.title, " has ", b.linears.size()));
  }
  Change total;
  std::map<std::string, Change> kinds;
  std::map<int, Change> layers;
  Json changes = Json::array();
  for (size_t i = 0; i < a.linears.size(); ++i) {
    const ComparedLinear &from = a.linears[i], &to = b.linears[i];
    if (from.name != to.name || from.weights != to.weights) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plans are of different models: ", from.name, " and ", to.name));
    }
    total.Add(from, to);
    kinds[from.kind].Add(from, to);
    layers[from.layer].Add(from, to);
    if (from.width == to.width) continue;
    changes.push_back({{"name", from.name},
                       {"kind", from.kind},
                       {"layer", from.layer},
                       {"bits", {from.width, to.width}},
                       {"loss", {from.loss, to.loss}}});
  }
  Json by_kind = Json::object(), by_layer = Json::object();
  for (const auto& [kind, change] : kinds) by_kind[kind] = change.ToJson();
  for (const auto& [layer, change] : layers) by_layer[absl::StrCat(layer)] = change.ToJson();
  return Json{{"a", PlanJson(a)},
              {"b", PlanJson(b)},
              {"total", total.ToJson()},
              {"kinds", std::move(by_kind)},
              {"layers", std::move(by_layer)},
              {"changes", std::move(changes)}}
      .dump();
}

std::string RenderPlanDiff(absl::string_view diff_json, bool linears) {
  const Json diff = OwnOrderedJson(diff_json);
  std::string text = absl::StrCat(RenderTotals(diff), "\n", RenderChanges(diff.at("kinds"), "KIND"), "\n",
                                  RenderChanges(diff.at("layers"), "LAYER"));
  if (!linears || diff.at("changes").empty()) return text;
  TextTable table({{"LINEAR"}, {"BITS", Align::kRight}, {"LOSS", Align::kRight}});
  for (const Json& change : diff.at("changes")) {
    const Json& bits = change.at("bits");
    table.AddRow({change.at("name").get<std::string>(),
                  absl::StrCat(bits[0].get<int>(), " -> ", bits[1].get<int>()), Pair(change.at("loss"), 4)});
  }
  return absl::StrCat(text, "\n", table.Render());
}

}  // namespace quantmoe
