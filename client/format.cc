#include "client/format.h"

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

std::string Pad(absl::string_view text, int columns, Align align) {
  const std::string blanks(static_cast<size_t>(std::max(0, columns - DisplayWidth(text))), ' ');
  return align == Align::kLeft ? absl::StrCat(text, blanks) : absl::StrCat(blanks, text);
}

}  // namespace

int DisplayWidth(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

std::string Printable(absl::string_view text) { return OneLine(text); }

std::string Truncate(absl::string_view text, int columns) {
  int used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (StartsCodePoint(text[i]) && ++used > columns) return std::string(text.substr(0, i));
  }
  return std::string(text);
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

void TextTable::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string TextTable::Render(int indent) const {
  std::vector<std::vector<std::string>> lines;
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  const bool titled =
      std::any_of(titles.begin(), titles.end(), [](const auto& title) { return !title.empty(); });
  if (titled) lines.push_back(titles);
  lines.insert(lines.end(), rows_.begin(), rows_.end());
  std::vector<int> widths(columns_.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(line[i]));
  }
  std::string text;
  for (const auto& line : lines) {
    std::string row(static_cast<size_t>(indent), ' ');
    for (size_t i = 0; i < line.size(); ++i) {
      absl::StrAppend(&row, i == 0 ? "" : "  ", Pad(line[i], widths[i], columns_[i].align));
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(row), "\n");
  }
  return text;
}

}  // namespace quantmoe
