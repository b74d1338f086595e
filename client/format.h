// Text for terminals: tables, bars, durations. Pure functions of their input; what a resource or a report
// looks like lives in resource_text and report_text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantmoe {

// Columns a UTF-8 text takes on a terminal, counting one per code point.
int DisplayWidth(absl::string_view text);

// The text with every control character as a blank, so that names and messages of a server cannot move the
// cursor.
std::string Printable(absl::string_view text);

// At most `columns` columns of the text.
std::string Truncate(absl::string_view text, int columns);

// A bar of `columns` columns, filled to an eighth of a column. `fraction` is clamped to [0, 1].
std::string Bar(double fraction, int columns);

// "0:07", "12:03", "1:02:03"; "-" for infinite and negative durations.
std::string FormatElapsed(absl::Duration duration);

// Seconds for people: "0.42 s" below a minute, else as FormatElapsed.
std::string FormatSeconds(double seconds);

// "2025-01-31 10:20:30Z"; "-" for the zero time.
std::string FormatTimestamp(absl::Time time);

// A number with `digits` significant digits and no exponent for usual magnitudes.
std::string FormatNumber(double value, int digits);

// A whole number with separators: 1,234,567.
std::string FormatCount(int64_t value);

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Rows under titles, two blanks between columns, no blanks at line ends. Cells are made printable.
class TextTable {
 public:
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Missing cells stay empty; there must not be more cells than columns.
  void AddRow(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  // Every line ends with a line feed. `indent` blanks go before each. Without any title there is no title
  // line.
  std::string Render(int indent = 0) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quantmoe
