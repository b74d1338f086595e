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

// The text if it fits, else whole words of it and an ellipsis, in at most `columns` columns. Only a first
// word that does not fit by itself is cut.
std::string Truncate(absl::string_view text, int columns);

// The text as lines of at most `columns` columns, broken between words; a longer word has a line of its own.
std::vector<std::string> Wrap(absl::string_view text, int columns);

// A bar of `columns` columns, filled to an eighth of a column. `fraction` is clamped to [0, 1].
std::string Bar(double fraction, int columns);

// "0:07", "12:03", "1:02:03"; "-" for infinite and negative durations.
std::string FormatElapsed(absl::Duration duration);

// Seconds for people: "0.42 s" below a minute, else as FormatElapsed.
std::string FormatSeconds(double seconds);

// "2025-01-31 10:20:30Z"; "-" for the zero time.
std::string FormatTimestamp(absl::Time time);

// The largest unit alone: "42s", "7m", "3h", "12d"; "-" for negative durations.
std::string FormatAge(absl::Duration age);

// A number with `digits` significant digits and no exponent for usual magnitudes.
std::string FormatNumber(double value, int digits);

// A whole number with separators: 1,234,567.
std::string FormatCount(int64_t value);

// What a colour means.
enum class Style { kPlain, kGood, kBad, kBusy, kFaint };

// Paints for a terminal that shows colours, and leaves text as it is elsewhere.
class Palette {
 public:
  Palette() = default;
  explicit Palette(bool colors) : colors_(colors) {}
  std::string Paint(Style style, absl::string_view text) const;

 private:
  bool colors_ = false;
};

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

struct Cell {
  // A cell without a style is written as its text: {"job", name}.
  Cell(std::string content, Style content_style = Style::kPlain)  // NOLINT(google-explicit-constructor)
      : text(std::move(content)), style(content_style) {}
  Cell(const char* content) : text(content) {}  // NOLINT(google-explicit-constructor)

  std::string text;
  Style style = Style::kPlain;
};

// Rows under titles, two blanks between columns, no blanks at line ends. Cells are made printable.
class TextTable {
 public:
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Missing cells stay empty; there must not be more cells than columns.
  void AddRow(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  // Every line ends with a line feed. `indent` blanks go before each. Without any title there is no title
  // line.
  std::string Render(int indent = 0, const Palette& palette = {}) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace quantmoe
