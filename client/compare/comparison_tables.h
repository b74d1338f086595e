// A comparison as tables, for a terminal and as Markdown.
#pragma once

#include <string>
#include <vector>

#include "cli/comparison.h"
#include "client/text/format.h"

namespace quantmoe {

struct ComparisonRow {
  std::vector<std::string> cells;
  bool best = false;
  bool failed = false;
};

struct ComparisonTable {
  std::string title;
  std::vector<Column> columns;
  std::vector<ComparisonRow> rows;
};

// In this order: the plans, what each is against the uniform plan of its budget, the benchmarks of every
// budget, the work. Tables without rows are left out.
std::vector<ComparisonTable> MakeTables(const Comparison& comparison);

// "model: 27.9 GiB of weights", and what the marks mean.
std::string ComparisonHeadline(const Comparison& comparison);
std::string ComparisonLegend(const Comparison& comparison);

// "+0.38 [+0.25, +0.50]" of `scale` times the change.
std::string ChangeText(const MeasuredChange& change, double scale);

std::string RenderComparison(const Comparison& comparison);
std::string ComparisonMarkdown(const Comparison& comparison);

}  // namespace quantmoe
