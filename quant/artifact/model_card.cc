#include "quant/artifact/model_card.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace quantmoe {
namespace {

using nlohmann::json;

std::string FrontMatter(const ModelSpec& spec, const std::string& format) {
  return absl::StrCat(
      "---\nlibrary_name: transformers\npipeline_tag: text-generation\nbase_model_relation: "
      "quantized\ntags:\n",
      "- ", format, "\n- quantmoe\n- mixed-precision\n", spec.moe.experts > 0 ? "- moe\n" : "", "- ",
      spec.model_type, "\n---\n\n");
}

// The change and its interval, "+0.12 [-0.30, +0.55]", when the two were compared.
std::string ChangeCell(const json& scores, const std::string& task, const std::string& metric, double scale) {
  if (!scores.contains("comparison")) return "-";
  for (const json& score : scores.at("comparison").at("scores")) {
    if (score.at("task") != task || score.at("metric") != metric) continue;
    const json& interval = score.at("interval");
    return absl::StrFormat("%+.2f [%+.2f, %+.2f]", score.at("difference").get<double>() * scale,
                           interval.at(0).get<double>() * scale, interval.at(1).get<double>() * scale);
  }
  return "-";
}

std::string ScoreRow(const std::string& name, const json& before, const json& after, const char* value,
                     const char* error, double scale, const std::string& change) {
  const auto cell = [&](const json& score) {
    if (!score.contains(value)) return std::string("-");
    const std::string text = absl::StrFormat("%.2f", score.at(value).get<double>() * scale);
    return score.contains(error) ? absl::StrFormat("%s ± %.2f", text, score.at(error).get<double>() * scale)
                                 : text;
  };
  return absl::StrCat("| ", name, " | ", cell(before), " | ", cell(after), " | ", change, " |\n");
}

// Whether the mixture was worth it, in the words of the report.
std::string VerdictText(const BitPlan& plan, const nlohmann::json& scores) {
  if (plan.verdict && !plan.verdict->plan_published) {
    return absl::StrCat(
        "**The plan of the heuristic `", plan.verdict->heuristic,
        "` did not beat these uniform widths on held-out text, so these are published.**\n\n");
  }
  const auto verdict = scores.find("verdict");
  if (verdict == scores.end() || !verdict->is_object()) return "";
  return absl::StrCat("**", verdict->at("text").get<std::string>(), "**\n\n");
}

std::string ScoreTable(const json& scores) {
  if (!scores.contains("original") || !scores.contains("planned")) return "";
  const json &before = scores.at("original"), &after = scores.at("planned");
  std::string table =
      "## Measured\n\n| | original | quantized | change, 95 % interval |\n|---|---|---|---|\n";
  if (before.contains("perplexity") && after.contains("perplexity")) {
    table += ScoreRow("perplexity", before["perplexity"], after["perplexity"], "value", "", 1,
                      ChangeCell(scores, "perplexity", "value", 1));
  }
  if (!before.contains("tasks") || !after.contains("tasks")) return table + "\n";
  for (const auto& [name, score] : before["tasks"].items()) {
    for (const char* metric : {"acc", "acc_norm"}) {
      if (!score.contains(metric)) continue;
      table += ScoreRow(absl::StrCat(name, ", ", metric, " (%)"), score, after["tasks"].at(name), metric,
                        absl::StrCat(metric, "_stderr").c_str(), 100, ChangeCell(scores, name, metric, 100));
    }
    for (const char* metric : {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}) {
      if (!score.contains(metric)) continue;
      table += ScoreRow(absl::StrCat(name, ", ", metric), score, after["tasks"].at(name), metric, "", 1,
                        ChangeCell(scores, name, metric, 1));
    }
  }
  return table + "\n";
}

std::string WidthTable(const BitPlan& plan) {
  std::map<LinearKind, std::map<int, int>> counts;
  std::set<int> widths;
  for (const PlannedLinear& p : plan.linears) {
    ++counts[p.linear.kind][p.width];
    widths.insert(p.width);
  }
  std::string head = "| linear |", rule = "|---|";
  for (const int width : widths) {
    absl::StrAppend(&head, " ", width, " bits |");
    rule += "---|";
  }
  std::string table = absl::StrCat("## Widths\n\n", head, "\n", rule, "\n");
  for (const auto& [kind, row] : counts) {
    absl::StrAppend(&table, "| ", LinearKindName(kind), " |");
    for (const int width : widths)
      absl::StrAppend(&table, " ", row.contains(width) ? row.at(width) : 0, " |");
    table += "\n";
  }
  return table;
}

}  // namespace

std::string ModelCard(const BitPlan& plan, const ModelSpec& spec, const nlohmann::json& scores,
                      int64_t original_bytes, const std::string& version) {
  return absl::StrCat(
      FrontMatter(spec, "gptq"), "# ", spec.architecture, ", quantized to ",
      absl::StrFormat("%.2f", plan.average_bits),
      " bits on average\n\nGPTQ with a width for every linear, chosen by the heuristic `", plan.heuristic,
      "` for the runtime profile `", plan.profile, "` (quantmoe ", version, "). Groups of ", plan.group_size,
      " input channels, symmetric. Weight files: ", original_bytes, " bytes before, ", plan.weight_file_bytes,
      " after (", absl::StrFormat("%.2f", plan.stored_bits), " stored bits for each quantized weight).\n\n",
      ScoreTable(scores), VerdictText(plan, scores), WidthTable(plan));
}

std::string CarriedFilesTable(const std::vector<std::string>& paths) {
  if (paths.empty()) return "";
  const std::string names = absl::StrJoin(
      paths, ", ", [](std::string* out, const std::string& path) { absl::StrAppend(out, "`", path, "`"); });
  return absl::StrCat("\n## From the source\n\nCopied unchanged, licences and policies among them: ", names,
                      ".\n");
}

std::string ExportCard(const BitPlan& plan, const ModelSpec& spec, const nlohmann::json& scores,
                       const std::string& format, double native_bits, int64_t source_bytes,
                       const std::string& version) {
  const std::string widths =
      absl::StrFormat("%.2f bits on average, stored at %.2f", native_bits, plan.average_bits);
  return absl::StrCat(
      FrontMatter(spec, format), "# ", spec.architecture, ", quantized to ", widths,
      "\n\nA GPTQ artifact with a width for every linear, chosen by the heuristic `", plan.heuristic,
      "`, exported as `", format, "` for the runtime profile `", plan.profile, "` (quantmoe ", version,
      "). The weights are the same numbers bit for bit; where the runtime needs it, codes are stored wider. ",
      "Groups of ", plan.group_size, " input channels, symmetric. Weight files: ", plan.weight_file_bytes,
      " bytes, of the artifact it was made from: ", source_bytes, " (",
      absl::StrFormat("%.2f", plan.stored_bits), " stored bits for each quantized weight).\n\n",
      ScoreTable(scores), VerdictText(plan, scores), WidthTable(plan));
}

}  // namespace quantmoe
