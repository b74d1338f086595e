#include "client/compare/comparison_page.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

#include "base/text.h"
#include "client/compare/comparison_tables.h"

namespace quantmoe {
namespace {

constexpr char kHead[] = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>quantmoe comparison</title>
<style>
:root { color-scheme: light dark; --bg: #ffffff; --fg: #1c2024; --dim: #60646c; --line: #d9d9e0; --card: #f6f6f8;
        --accent: #0a66c2; --good: #18794e; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #15171a; --fg: #e8eaed; --dim: #a0a5ad; --line: #363a40; --card: #1e2125; --accent: #7cb7ff;
          --good: #5bd197; --bad: #ff8f80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 1rem; background: var(--bg); color: var(--fg);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--dim); }
.right { text-align: right; }
.long { white-space: normal; overflow-wrap: anywhere; min-width: 16rem; }
tr.best td { font-weight: 600; }
tr.failed td { color: var(--bad); }
.badge { color: var(--good); border: 1px solid currentColor; border-radius: 4px; padding: 0 .3rem; font-size: .75rem;
         margin-left: .4rem; }
.row { display: grid; grid-template-columns: 15rem 1fr 15rem; gap: .2rem .8rem; align-items: center;
       padding: .2rem 0; }
.row .value { text-align: right; font-variant-numeric: tabular-nums; }
.row .name { overflow-wrap: anywhere; }
.track { position: relative; height: 1.2rem; background: var(--card); border-radius: 3px; }
.track i { position: absolute; top: .5rem; height: .2rem; min-width: 1px; background: var(--accent); }
.track b { position: absolute; top: .3rem; width: .6rem; height: .6rem; margin-left: -.3rem; border-radius: 50%;
           background: var(--accent); }
.track u { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--dim); }
.best .track i, .best .track b { background: var(--good); }
@media (max-width: 700px) {
  .row { grid-template-columns: 1fr auto; padding: .4rem 0; }
  .row .track { grid-column: 1 / -1; grid-row: 2; }
  thead { display: none; }
  table, tbody, tr, td { display: block; }
  tr { border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin: .6rem 0; padding: .3rem 0; }
  td, td.right { display: flex; justify-content: space-between; gap: 1rem; text-align: right; border: 0;
                 white-space: normal; min-width: 0; }
  td::before { content: attr(data-title); color: var(--dim); font-weight: 400; text-align: left; }
  td > span { overflow-wrap: anywhere; }
}
</style>
</head>
<body>
)";

std::string Escape(absl::string_view text) { return EscapeHtml(Printable(text)); }

// Where changes lie on the common axis, which holds 0.
struct Axis {
  double low = 0;
  double high = 0;

  void Add(const MeasuredChange& change) {
    low = std::min(low, change.low);
    high = std::max(high, change.high);
  }
  // In per cent, with a margin of 3 on both sides.
  double At(double value) const { return high > low ? 3 + 94 * (value - low) / (high - low) : 50; }
};

std::string Badge(bool best) { return best ? "<span class=\"badge\">best</span>" : ""; }

std::string IntervalRow(const ComparedJob& job, const Axis& axis) {
  const MeasuredChange& change = *job.perplexity;
  const double left = axis.At(change.low), right = axis.At(change.high);
  return absl::StrCat(
      "<div class=\"row", job.best ? " best" : "", "\"><span class=\"name\">", Escape(job.plan), ", ",
      Escape(job.budget), Badge(job.best), "</span><span class=\"track\">",
      absl::StrFormat("<u style=\"left:%.2f%%\"></u><i style=\"left:%.2f%%;width:%.2f%%\"></i>"
                      "<b style=\"left:%.2f%%\"></b>",
                      axis.At(0), left, right - left, axis.At(change.after - change.before)),
      "</span><span class=\"value\">", Escape(ChangeText(change, 1)), "</span></div>\n");
}

std::string Intervals(const Comparison& comparison) {
  Axis axis;
  std::string rows;
  for (const ComparedJob& job : comparison.jobs) {
    if (job.perplexity) axis.Add(*job.perplexity);
  }
  for (const ComparedJob& job : comparison.jobs) {
    if (job.perplexity) absl::StrAppend(&rows, IntervalRow(job, axis));
  }
  if (rows.empty()) return "";
  return absl::StrCat(
      "<section><h2>Change of perplexity, 95% interval</h2>\n",
      "<p class=\"dim\">The upright line is the original model; farther right is worse.</p>\n", rows,
      "</section>\n");
}

std::string Cell(const ComparisonTable& table, const ComparisonRow& row, size_t index) {
  const Column& column = table.columns[index];
  // Reasons of failures are sentences, all else is kept on one line.
  const char* style = column.title == "failure"       ? " class=\"long\""
                      : column.align == Align::kRight ? " class=\"right\""
                                                      : "";
  return absl::StrCat("<td", style, " data-title=\"", Escape(column.title), "\"><span>",
                      Escape(row.cells[index]), index == 1 ? Badge(row.best) : "", "</span></td>");
}

std::string Table(const ComparisonTable& table) {
  std::string html =
      absl::StrCat("<section><h2>", Escape(table.title), "</h2>\n<div class=\"scroll\"><table><thead><tr>");
  for (const Column& column : table.columns) {
    absl::StrAppend(&html, column.align == Align::kRight ? "<th class=\"right\">" : "<th>",
                    Escape(column.title), "</th>");
  }
  absl::StrAppend(&html, "</tr></thead><tbody>\n");
  for (const ComparisonRow& row : table.rows) {
    absl::StrAppend(&html, row.failed ? "<tr class=\"failed\">" : row.best ? "<tr class=\"best\">" : "<tr>");
    for (size_t i = 0; i < row.cells.size(); ++i) absl::StrAppend(&html, Cell(table, row, i));
    absl::StrAppend(&html, "</tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div></section>\n");
}

}  // namespace

std::string ComparisonPage(const Comparison& comparison) {
  std::string html = absl::StrCat(kHead, "<h1>Comparison of plans</h1>\n<p class=\"dim\">",
                                  Escape(ComparisonHeadline(comparison)), "</p>\n", Intervals(comparison));
  for (const ComparisonTable& table : MakeTables(comparison)) absl::StrAppend(&html, Table(table));
  return absl::StrCat(html, "<p class=\"dim\">", Escape(ComparisonLegend(comparison)),
                      "</p>\n</body>\n</html>\n");
}

}  // namespace quantmoe
