#include "plan/allocate/tail_figures.h"

#include <algorithm>
#include <numeric>

#include "base/json_number.h"
#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

constexpr double kBroken = 10;  // times the median window
constexpr size_t kTenths = 10;  // of which the worst is looked at

double Mean(std::vector<double>::const_iterator begin, std::vector<double>::const_iterator end) {
  return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin);
}

// The smallest value that at least the share `thousandths` of the sorted ones do not exceed.
double Percentile(const std::vector<double>& sorted, size_t thousandths) {
  const size_t place = (sorted.size() * thousandths + 999) / 1000;
  return sorted[std::max<size_t>(place, 1) - 1];
}

}  // namespace

std::vector<double> WindowMeans(const std::vector<double>& rows, int64_t length) {
  std::vector<double> means;
  for (auto begin = rows.begin(); begin != rows.end(); begin += length)
    means.push_back(Mean(begin, begin + length));
  return means;
}

TailFigures FiguresOf(const std::vector<double>& rows, int64_t length, int64_t top1_flips) {
  std::vector<double> windows = WindowMeans(rows, length), sorted = rows;
  std::sort(windows.begin(), windows.end());
  std::sort(sorted.begin(), sorted.end());
  const double median = windows[(windows.size() - 1) / 2];
  const auto worst = static_cast<std::ptrdiff_t>((windows.size() + kTenths - 1) / kTenths);
  TailFigures figures;
  figures.mean = Mean(rows.begin(), rows.end());
  figures.cvar = Mean(windows.end() - worst, windows.end());
  figures.worst_window = windows.back();
  figures.percentile_99 = Percentile(sorted, 990);
  figures.percentile_999 = Percentile(sorted, 999);
  figures.broken_windows = static_cast<int>(
      std::count_if(windows.begin(), windows.end(), [=](double mean) { return mean > kBroken * median; }));
  figures.top1_flips = top1_flips;
  return figures;
}

nlohmann::json TailFiguresJson(const TailFigures& figures) {
  return {{"mean", figures.mean},
          {"cvar", figures.cvar},
          {"worst_window", figures.worst_window},
          {"percentile_99", figures.percentile_99},
          {"percentile_999", figures.percentile_999},
          {"broken_windows", figures.broken_windows},
          {"top1_flips", figures.top1_flips}};
}

TailFigures TailFiguresOf(const nlohmann::json& value) {
  return {value.at("mean").get<double>(),           value.at("cvar").get<double>(),
          value.at("worst_window").get<double>(),   value.at("percentile_99").get<double>(),
          value.at("percentile_999").get<double>(), IntegerAt<int>(value, "broken_windows"),
          IntegerAt<int64_t>(value, "top1_flips")};
}

}  // namespace quantmoe
