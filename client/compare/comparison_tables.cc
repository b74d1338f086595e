#include "client/compare/comparison_tables.h"

#include <algorithm>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

#include "base/byte_size.h"
#include "base/uniform_label.h"

namespace quantmoe {
namespace {

bool IsShare(const MeasuredChange& change) { return absl::StartsWith(change.metric, "acc"); }
double ScaleOf(const MeasuredChange& change) { return IsShare(change) ? 100 : 1; }

ComparisonRow StartRow(const ComparedJob& job) {
  return {{job.budget, job.plan}, job.best, !job.failure.empty()};
}

std::vector<std::string> PlanFigures(const ComparedJob& job) {
  std::vector<std::string> cells = {absl::StrFormat("%.4f", job.average_bits),
                                    FormatByteSize(job.weight_file_bytes), FormatNumber(job.loss, 5)};
  cells.push_back(job.perplexity ? FormatNumber(job.perplexity->after, 5) : "");
  cells.push_back(job.perplexity ? ChangeText(*job.perplexity, 1) : "");
  cells.push_back(job.verdict);
  return cells;
}

ComparisonTable PlanTable(const Comparison& comparison) {
  ComparisonTable table{"Plans",
                        {{"budget"},
                         {"plan"},
                         {"bits", Align::kRight},
                         {"weights", Align::kRight},
                         {"predicted loss", Align::kRight},
                         {"perplexity", Align::kRight},
                         {"change [95%]", Align::kRight},
                         {"verdict"}},
                        {}};
  const bool failures = std::any_of(comparison.jobs.begin(), comparison.jobs.end(),
                                    [](const ComparedJob& job) { return !job.failure.empty(); });
  if (failures) table.columns.push_back({"failure"});
  for (const ComparedJob& job : comparison.jobs) {
    ComparisonRow row = StartRow(job);
    const std::vector<std::string> figures =
        row.failed ? std::vector<std::string>{"-", "-", "-", "-", "-", "failed"} : PlanFigures(job);
    row.cells.insert(row.cells.end(), figures.begin(), figures.end());
    if (failures) row.cells.push_back(job.failure);
    table.rows.push_back(std::move(row));
  }
  return table;
}

ComparisonTable UniformTable(const Comparison& comparison) {
  ComparisonTable table{"Perplexity against the largest uniform plan within the budget",
                        {{"budget"},
                         {"plan"},
                         {"weights", Align::kRight},
                         {"reference"},
                         {"its weights", Align::kRight},
                         {"perplexity", Align::kRight},
                         {"of the reference", Align::kRight},
                         {"change [95%]", Align::kRight},
                         {"verdict"}},
                        {}};
  for (const ComparedJob& job : comparison.jobs) {
    if (!job.against_uniform) continue;
    const MeasuredChange& change = *job.against_uniform;
    ComparisonRow row = StartRow(job);
    for (std::string cell : {FormatByteSize(job.weight_file_bytes), ReferenceName(job),
                             FormatByteSize(job.uniform_bytes), FormatNumber(change.after, 5),
                             FormatNumber(change.before, 5), ChangeText(change, 1), job.verdict}) {
      row.cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// What a mean hides: a plan may be near the original but for a window in fifty.
ComparisonTable DivergenceTable(const Comparison& comparison) {
  ComparisonTable table{"Divergence from the original model on unseen windows [nats a token]",
                        {{"budget"},
                         {"plan"},
                         {"mean", Align::kRight},
                         {"worst tenth", Align::kRight},
                         {"worst window", Align::kRight},
                         {"99%", Align::kRight},
                         {"99.9%", Align::kRight},
                         {"broken windows", Align::kRight},
                         {"other first choice", Align::kRight}},
                        {}};
  for (const ComparedJob& job : comparison.jobs) {
    if (!job.divergence) continue;
    const MeasuredDivergence& tails = *job.divergence;
    ComparisonRow row = StartRow(job);
    for (const double figure :
         {tails.mean, tails.cvar, tails.worst_window, tails.percentile_99, tails.percentile_999}) {
      row.cells.push_back(FormatNumber(figure, 4));
    }
    row.cells.push_back(FormatCount(tails.broken_windows));
    const auto tokens = static_cast<double>(std::max<int64_t>(tails.tokens, 1));
    row.cells.push_back(absl::StrFormat("%.2f %%", 100 * static_cast<double>(tails.top1_flips) / tokens));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<const ComparedJob*> MeasuredAt(const Comparison& comparison, const std::string& budget) {
  std::vector<const ComparedJob*> jobs;
  for (const ComparedJob& job : comparison.jobs) {
    if (job.budget == budget && !job.benchmarks.empty()) jobs.push_back(&job);
  }
  return jobs;
}

std::string ScoreOf(const ComparedJob& job, const MeasuredChange& wanted) {
  for (const MeasuredChange& score : job.benchmarks) {
    if (score.task != wanted.task || score.metric != wanted.metric) continue;
    const double scale = ScaleOf(score);
    return absl::StrFormat("%.2f  [%+.2f, %+.2f]", score.after * scale, score.low * scale,
                           score.high * scale);
  }
  return "-";
}

// A row a score, a column a plan: what belongs together is read across.
ComparisonTable BenchmarkTable(const Comparison& comparison, const std::string& budget) {
  ComparisonTable table{absl::StrCat("Benchmarks at ", budget, " [95% interval of the change]"),
                        {{"benchmark"}, {"metric"}, {"original", Align::kRight}},
                        {}};
  const std::vector<const ComparedJob*> jobs = MeasuredAt(comparison, budget);
  if (jobs.empty()) return table;
  for (const ComparedJob* job : jobs) table.columns.push_back({job->plan, Align::kRight});
  for (const MeasuredChange& score : jobs.front()->benchmarks) {
    ComparisonRow row{{score.task, absl::StrCat(score.metric, IsShare(score) ? " %" : ""),
                       absl::StrFormat("%.2f", score.before * ScaleOf(score))}};
    for (const ComparedJob* job : jobs) row.cells.push_back(ScoreOf(*job, score));
    table.rows.push_back(std::move(row));
  }
  return table;
}

ComparisonTable WorkTable(const Comparison& comparison) {
  ComparisonTable table{"Work",
                        {{"budget"},
                         {"plan"},
                         {"tasks", Align::kRight},
                         {"reused", Align::kRight},
                         {"worker time", Align::kRight},
                         {"job"}},
                        {}};
  for (const ComparedJob& job : comparison.jobs) {
    if (job.job.empty()) continue;
    ComparisonRow row = StartRow(job);
    row.best = false;
    for (std::string cell :
         {FormatCount(job.tasks), FormatCount(job.reused), FormatSeconds(job.worker_seconds), job.job}) {
      row.cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<std::string> BudgetsOf(const Comparison& comparison) {
  std::vector<std::string> budgets;
  for (const ComparedJob& job : comparison.jobs) {
    if (std::find(budgets.begin(), budgets.end(), job.budget) == budgets.end()) budgets.push_back(job.budget);
  }
  return budgets;
}

std::string RenderTable(const ComparisonTable& table) {
  const bool marked =
      std::any_of(table.rows.begin(), table.rows.end(), [](const ComparisonRow& row) { return row.best; });
  std::vector<Column> columns;
  if (marked) columns.push_back({""});
  for (const Column& column : table.columns) {
    columns.push_back({absl::AsciiStrToUpper(Printable(column.title)), column.align});
  }
  TextTable text(columns);
  for (const ComparisonRow& row : table.rows) {
    std::vector<std::string> cells = row.cells;
    if (marked) cells.insert(cells.begin(), row.best ? "*" : "");
    text.AddRow({cells.begin(), cells.end()});
  }
  return absl::StrCat("\n", Printable(table.title), "\n", text.Render(2));
}

// What Markdown would read as markup stays text; "](" would be a link.
std::string MarkdownText(const std::string& text) {
  return absl::StrReplaceAll(Printable(text), {{"\\", "\\\\"},
                                               {"|", "\\|"},
                                               {"*", "\\*"},
                                               {"`", "\\`"},
                                               {"](", "]\\("},
                                               {"&", "&amp;"},
                                               {"<", "&lt;"},
                                               {">", "&gt;"}});
}

std::string MarkdownRow(const std::vector<std::string>& cells) {
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}

std::string MarkdownTable(const ComparisonTable& table) {
  std::vector<std::string> titles, rules;
  for (const Column& column : table.columns) {
    titles.push_back(MarkdownText(column.title));
    rules.push_back(column.align == Align::kRight ? "---:" : "---");
  }
  std::string text = absl::StrCat("\n## ", MarkdownText(table.title), "\n\n", MarkdownRow(titles), "|",
                                  absl::StrJoin(rules, "|"), "|\n");
  for (const ComparisonRow& row : table.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : row.cells) cells.push_back(MarkdownText(cell));
    if (row.best) cells[1] = absl::StrCat("**", cells[1], "**");
    absl::StrAppend(&text, MarkdownRow(cells));
  }
  return text;
}

}  // namespace

std::vector<ComparisonTable> MakeTables(const Comparison& comparison) {
  std::vector<ComparisonTable> tables = {PlanTable(comparison), UniformTable(comparison),
                                         DivergenceTable(comparison)};
  for (const std::string& budget : BudgetsOf(comparison)) {
    tables.push_back(BenchmarkTable(comparison, budget));
  }
  tables.push_back(WorkTable(comparison));
  const auto empty = [](const ComparisonTable& table) { return table.rows.empty(); };
  tables.erase(std::remove_if(tables.begin(), tables.end(), empty), tables.end());
  return tables;
}

std::string ComparisonHeadline(const Comparison& comparison) {
  if (comparison.original_bytes == 0) return comparison.model;
  std::string text =
      absl::StrCat(comparison.model, ": ", FormatByteSize(comparison.original_bytes), " of weights");
  for (const ComparedJob& job : comparison.jobs) {
    if (!job.perplexity) continue;
    return absl::StrCat(text, ", perplexity ", FormatNumber(job.perplexity->before, 5));
  }
  return text;
}

std::string ComparisonLegend(const Comparison& comparison) {
  std::string text;
  const auto any = [&](const std::function<bool(const ComparedJob&)>& test) {
    return std::any_of(comparison.jobs.begin(), comparison.jobs.end(), test);
  };
  const bool measured = any([](const ComparedJob& job) { return job.perplexity.has_value(); });
  if (any([](const ComparedJob& job) { return job.best; })) {
    absl::StrAppend(&text, "best of its budget: the lowest ", measured ? "perplexity" : "predicted loss",
                    ". ");
  }
  if (measured) {
    absl::StrAppend(&text,
                    "Changes are from the original weights, with the 95% interval of a paired bootstrap. ");
  }
  if (any([](const ComparedJob& job) { return !job.verdict.empty(); })) {
    absl::StrAppend(
        &text,
        "Verdict: whether the plan or the largest uniform plan within the budget has the lower perplexity; "
        "either, when the interval of their difference holds 0. ");
  }
  if (any([](const ComparedJob& job) { return job.divergence.has_value(); })) {
    absl::StrAppend(&text, "A window is broken when its divergence is above ten times the median window's. ");
  }
  if (any([](const ComparedJob& job) { return job.divergence && !job.divergence->unseen; })) {
    absl::StrAppend(&text, "Some windows are text that solves have used too: give more calibration text. ");
  }
  if (any([](const ComparedJob& job) { return absl::StrContains(job.plan, "(fewer bytes)"); })) {
    absl::StrAppend(
        &text, "Where a uniform plan has fewer bytes, no width fills the budget: ", kEqualBytesControl,
        ", the same width with the next one for the first layers, is the control of equal bytes. ");
  }
  return std::string(absl::StripTrailingAsciiWhitespace(text));
}

std::string ChangeText(const MeasuredChange& change, double scale) {
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", (change.after - change.before) * scale, change.low * scale,
                         change.high * scale);
}

std::string RenderComparison(const Comparison& comparison) {
  std::string text = absl::StrCat(Printable(ComparisonHeadline(comparison)), "\n");
  for (const ComparisonTable& table : MakeTables(comparison)) absl::StrAppend(&text, RenderTable(table));
  const std::string legend = ComparisonLegend(comparison);
  return legend.empty()
             ? text
             : absl::StrCat(text, "\n", absl::StartsWith(legend, "best") ? "* " : "", legend, "\n");
}

std::string ComparisonMarkdown(const Comparison& comparison) {
  std::string text =
      absl::StrCat("# Comparison of plans\n\n", MarkdownText(ComparisonHeadline(comparison)), "\n");
  for (const ComparisonTable& table : MakeTables(comparison)) absl::StrAppend(&text, MarkdownTable(table));
  const std::string legend = ComparisonLegend(comparison);
  return legend.empty()
             ? text
             : absl::StrCat(text, "\n", absl::StartsWith(legend, "best") ? "**Bold**: " : "", legend, "\n");
}

}  // namespace quantmoe
