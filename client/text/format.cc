#include "client/text/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/text.h"

namespace quantmoe {
namespace {

bool StartsCodePoint(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

// The cell between blanks that fill its column; the last one of a row needs none behind it.
std::string Pad(const Cell& cell, int columns, Align align, bool is_last, const Palette& palette) {
  const std::string blanks(static_cast<size_t>(std::max(0, columns - DisplayWidth(cell.text))), ' ');
  const std::string painted = palette.Paint(cell.style, cell.text);
  if (align == Align::kRight) return absl::StrCat(blanks, painted);
  return is_last ? painted : absl::StrCat(painted, blanks);
}

// The text up to its `columns`-th column.
absl::string_view Cut(absl::string_view text, int columns) {
  int used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (StartsCodePoint(text[i]) && ++used > columns) return text.substr(0, i);
  }
  return text;
}

// The whole words at the start of a text that is wider than `columns`; empty when the first one does not fit.
absl::string_view WholeWords(absl::string_view text, int columns) {
  const absl::string_view cut = Cut(text, columns);
  if (cut.size() < text.size() && text[cut.size()] == ' ') return absl::StripTrailingAsciiWhitespace(cut);
  const size_t blank = cut.rfind(' ');
  if (blank == absl::string_view::npos) return "";
  return absl::StripTrailingAsciiWhitespace(cut.substr(0, blank));
}

}  // namespace

int DisplayWidth(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

std::string Printable(absl::string_view text) { return OneLine(text); }

std::string Truncate(absl::string_view text, int columns) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  if (columns < 1) return "";
  const absl::string_view words = WholeWords(text, columns - 1);
  return absl::StrCat(words.empty() ? Cut(text, columns - 1) : words, "…");
}

std::vector<std::string> Wrap(absl::string_view text, int columns) {
  std::vector<std::string> lines;
  text = absl::StripAsciiWhitespace(text);
  while (DisplayWidth(text) > columns) {
    absl::string_view line = WholeWords(text, columns);
    if (line.empty()) line = text.substr(0, text.find(' '));
    lines.emplace_back(line);
    text = absl::StripLeadingAsciiWhitespace(text.substr(line.size()));
  }
  if (!text.empty()) lines.emplace_back(text);
  return lines;
}

std::string Palette::Paint(Style style, absl::string_view text) const {
  if (!colors_ || style == Style::kPlain || text.empty()) return std::string(text);
  const char* code = style == Style::kGood   ? "32"
                     : style == Style::kBad  ? "31"
                     : style == Style::kBusy ? "36"
                                             : "2";
  return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
}

std::string Bar(double fraction, int columns) {
  constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double clamped = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  const int eighths = static_cast<int>(std::floor(clamped * columns * 8 + 1e-9));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[static_cast<size_t>(eighths % 8)];
  for (int used = (eighths + 7) / 8; used < columns; ++used) bar += "░";
  return bar;
}

std::string FormatElapsed(absl::Duration duration) {
  if (duration == absl::InfiniteDuration() || duration < absl::ZeroDuration()) return "-";
  const int64_t seconds = absl::ToInt64Seconds(duration);
  const int64_t hours = seconds / 3600;
  if (hours == 0) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d:%02d", hours, seconds / 60 % 60, seconds % 60);
}

std::string FormatSeconds(double seconds) {
  return seconds < 60 ? absl::StrFormat("%.2f s", seconds) : FormatElapsed(absl::Seconds(seconds));
}

std::string FormatTimestamp(absl::Time time) {
  if (time == absl::UnixEpoch()) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string FormatAge(absl::Duration age) {
  if (age < absl::ZeroDuration()) return "-";
  const int64_t seconds = absl::ToInt64Seconds(age);
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, "m");
  if (seconds < 2 * 86400) return absl::StrCat(seconds / 3600, "h");
  return absl::StrCat(seconds / 86400, "d");
}

std::string FormatNumber(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  const double magnitude = std::abs(value);
  if (magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e9)) {
    return absl::StrFormat("%.*e", digits - 1, value);
  }
  const int exponent = magnitude == 0 ? 0 : static_cast<int>(std::floor(std::log10(magnitude)));
  return absl::StrFormat("%.*f", std::max(0, digits - 1 - exponent), value);
}

std::string FormatCount(int64_t value) {
  const std::string digits = absl::StrCat(value);
  const size_t sign = value < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

void TextTable::AddRow(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  for (Cell& cell : cells) cell.text = Printable(cell.text);
  rows_.push_back(std::move(cells));
}

std::string TextTable::Render(int indent, const Palette& palette) const {
  std::vector<std::vector<Cell>> lines;
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title);
  const bool titled =
      std::any_of(titles.begin(), titles.end(), [](const Cell& title) { return !title.text.empty(); });
  if (titled) lines.push_back(titles);
  lines.insert(lines.end(), rows_.begin(), rows_.end());
  std::vector<int> widths(columns_.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(line[i].text));
  }
  std::string text;
  for (const auto& line : lines) {
    size_t filled = line.size();
    while (filled > 0 && line[filled - 1].text.empty()) --filled;
    if (filled > 0) text.append(static_cast<size_t>(indent), ' ');
    for (size_t i = 0; i < filled; ++i) {
      absl::StrAppend(&text, i == 0 ? "" : "  ",
                      Pad(line[i], widths[i], columns_[i].align, i + 1 == filled, palette));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace quantmoe
