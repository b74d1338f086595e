#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "plan/job/pareto.h"

namespace quantmoe {
namespace {

constexpr int kColumns = 64;
constexpr int kLines = 18;
constexpr double kWidth = 760, kHeight = 440, kLeft = 90, kRight = 20, kTop = 30, kBottom = 60;

// Bytes to [0, 1] from left to right, the logarithm of the loss to [0, 1] from top to bottom.
class Axes {
 public:
  explicit Axes(const ParetoFront& front) {
    for (const ParetoPoint& point : front.points) Include(point.bytes, point.loss);
    for (const ParetoPoint& point : front.uniform) Include(point.bytes, point.loss);
    for (const MeasuredPoint& point : front.measured) Include(point.point.bytes, point.point.loss);
  }
  double X(int64_t bytes) const {
    const double range = most_bytes_ - least_bytes_;
    return range > 0 ? (static_cast<double>(bytes) - least_bytes_) / range : 0.5;
  }
  double Y(double loss) const {
    if (!(loss > 0) || most_loss_ <= least_loss_) return loss > 0 ? 0.5 : 1;
    return std::clamp(std::log(most_loss_ / loss) / std::log(most_loss_ / least_loss_), 0.0, 1.0);
  }
  double BytesAt(double x) const { return least_bytes_ + x * (most_bytes_ - least_bytes_); }
  double LossAt(double y) const { return most_loss_ * std::pow(least_loss_ / most_loss_, y); }

 private:
  void Include(int64_t bytes, double loss) {
    least_bytes_ = std::min(least_bytes_, static_cast<double>(bytes));
    most_bytes_ = std::max(most_bytes_, static_cast<double>(bytes));
    if (!(loss > 0)) return;
    least_loss_ = std::min(least_loss_, loss);
    most_loss_ = std::max(most_loss_, loss);
  }
  double least_bytes_ = 1e300, most_bytes_ = 0, least_loss_ = 1e300, most_loss_ = 0;
};

std::string Size(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return absl::StrFormat("%.4g %s", bytes, kUnits[unit]);
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

double PixelX(const Axes& axes, int64_t bytes) { return kLeft + axes.X(bytes) * (kWidth - kLeft - kRight); }
double PixelY(const Axes& axes, double loss) { return kTop + axes.Y(loss) * (kHeight - kTop - kBottom); }

std::string SvgMark(const Axes& axes, const char* style, double radius, const ParetoPoint& point,
                    const std::string& title) {
  return absl::StrFormat(
      "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>%s</title></circle>\n", style,
      PixelX(axes, point.bytes), PixelY(axes, point.loss), radius, Escaped(title));
}

std::string PointTitle(const ParetoPoint& point) {
  return absl::StrFormat("%s, %.4f bits, loss %.6g", Size(static_cast<double>(point.bytes)),
                         point.average_bits, point.loss);
}

std::string SvgAxes(const Axes& axes, const std::string& objective) {
  std::string svg;
  for (int i = 0; i <= 4; ++i) {
    const double x = kLeft + i * 0.25 * (kWidth - kLeft - kRight),
                 y = kTop + i * 0.25 * (kHeight - kTop - kBottom);
    absl::StrAppendFormat(&svg, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x,
                          kTop, x, kHeight - kBottom);
    absl::StrAppendFormat(&svg, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                          kLeft, y, kWidth - kRight, y);
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x,
                          kHeight - kBottom + 20, Size(axes.BytesAt(i * 0.25)));
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", kLeft - 8,
                          y + 4, axes.LossAt(i * 0.25));
  }
  absl::StrAppendFormat(
      &svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">bytes of all weight files</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 15);
  absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\">loss (%s)</text>\n", 8.0, 18.0,
                        Escaped(objective));
  return svg;
}

// Lines of cells; a later mark covers an earlier one.
class Canvas {
 public:
  explicit Canvas(const Axes& axes) : axes_(axes), cells_(kLines, std::vector<const char*>(kColumns, " ")) {}
  void Mark(const ParetoPoint& point, const char* mark) {
    const auto column = static_cast<size_t>(std::lround(axes_.X(point.bytes) * (kColumns - 1)));
    const auto line = static_cast<size_t>(std::lround(axes_.Y(point.loss) * (kLines - 1)));
    cells_[line][column] = mark;
  }
  std::string Render() const {
    std::string text;
    for (int line = 0; line < kLines; ++line) {
      const bool labelled = line % 4 == 0 || line == kLines - 1;
      const double y = static_cast<double>(line) / (kLines - 1);
      absl::StrAppend(&text, labelled ? absl::StrFormat("%10.3g", axes_.LossAt(y)) : std::string(10, ' '),
                      " |");
      std::string cells;
      for (const char* cell : cells_[static_cast<size_t>(line)]) cells += cell;
      cells.erase(cells.find_last_not_of(' ') + 1);
      absl::StrAppend(&text, cells, "\n");
    }
    const std::string low = Size(axes_.BytesAt(0)), high = Size(axes_.BytesAt(1));
    absl::StrAppend(&text, std::string(11, ' '), "+", std::string(kColumns, '-'), "\n", std::string(12, ' '),
                    low, std::string(std::max<size_t>(1, kColumns - low.size() - high.size()), ' '), high,
                    "\n");
    return text;
  }

 private:
  const Axes& axes_;
  std::vector<std::vector<const char*>> cells_;
};

}  // namespace

std::string DrawFrontAsText(const ParetoFront& front) {
  const Axes axes(front);
  Canvas canvas(axes);
  for (const ParetoPoint& point : front.points) canvas.Mark(point, "·");
  for (const ParetoPoint& point : front.uniform) canvas.Mark(point, "u");
  for (const MeasuredPoint& point : front.measured) canvas.Mark(point.point, "●");
  std::string text =
      absl::StrCat("loss (", front.objective, ", logarithmic) over bytes of all weight files\n",
                   canvas.Render(), "  · optimal   u one width for all   ● measured\n\n");
  absl::StrAppendFormat(&text, "%14s  %8s  %8s  %12s  %12s\n", "BYTES", "BITS", "STORED", "LOSS",
                        "NO LESS THAN");
  for (const ParetoPoint& point : front.points) {
    absl::StrAppendFormat(&text, "%14d  %8.4f  %8.4f  %12.6g  %12.6g\n", point.bytes, point.average_bits,
                          point.stored_bits, point.loss, point.lower_bound);
  }
  for (const ParetoPoint& point : front.uniform) {
    absl::StrAppendFormat(&text, "%14d  %8.4f  %8.4f  %12.6g  one width for all\n", point.bytes,
                          point.average_bits, point.stored_bits, point.loss);
  }
  if (front.measured.empty()) return text;
  absl::StrAppendFormat(&text, "\n%14s  %8s  %12s  %10s  %s\n", "BYTES", "BITS", "LOSS", "PERPLEXITY",
                        "PLAN");
  for (const MeasuredPoint& point : front.measured) {
    absl::StrAppendFormat(&text, "%14d  %8.4f  %12.6g  %10.4f  %s %s\n", point.point.bytes,
                          point.point.average_bits, point.point.loss, point.perplexity, point.heuristic,
                          point.name);
  }
  if (front.original_perplexity > 0) {
    absl::StrAppendFormat(&text, "%14s  %8s  %12s  %10.4f  unquantized\n", "", "", "",
                          front.original_perplexity);
  }
  return text;
}

std::string DrawFrontAsSvg(const ParetoFront& front) {
  const Axes axes(front);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
      "aria-label=\"Loss over bytes\">\n<style>\nsvg{background:#fff}text{font:12px sans-serif;fill:#333}"
      ".grid{stroke:#ddd}.front{fill:none;stroke:#1565c0;stroke-width:2}.point{fill:#1565c0}"
      ".uniform{fill:none;stroke:#b35900;stroke-width:2}.measured{fill:#2e7d32}\n"
      "@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}.grid{stroke:#3a3a3a}"
      ".front{stroke:#64b5f6}.point{fill:#64b5f6}.uniform{stroke:#ffb74d}.measured{fill:#81c784}}\n</"
      "style>\n",
      kWidth, kHeight);
  absl::StrAppend(&svg, SvgAxes(axes, front.objective), "<polyline class=\"front\" points=\"");
  for (const ParetoPoint& point : front.points) {
    absl::StrAppendFormat(&svg, "%.1f,%.1f ", PixelX(axes, point.bytes), PixelY(axes, point.loss));
  }
  absl::StrAppend(&svg, "\"/>\n");
  for (const ParetoPoint& point : front.points) svg += SvgMark(axes, "point", 3, point, PointTitle(point));
  for (const ParetoPoint& point : front.uniform) {
    svg += SvgMark(axes, "uniform", 5, point, absl::StrCat("one width for all: ", PointTitle(point)));
  }
  for (const MeasuredPoint& point : front.measured) {
    svg += SvgMark(axes, "measured", 5, point.point,
                   absl::StrCat(point.heuristic, " ", point.name, ": ", PointTitle(point.point),
                                ", perplexity ", absl::StrFormat("%.4f", point.perplexity)));
  }
  return absl::StrCat(svg, "</svg>\n");
}

}  // namespace quantmoe
