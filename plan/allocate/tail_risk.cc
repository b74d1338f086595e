#include "plan/allocate/tail_risk.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace quantmoe {
namespace {

double Mean(const std::vector<double>& losses) {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

// `losses` fall.
double MeanOfWorst(const std::vector<double>& losses, double largest_weight) {
  double sum = 0, left = 1;
  for (double loss : losses) {
    const double weight = std::min(largest_weight, left);
    sum += weight * loss;
    left -= weight;
  }
  return sum;
}

}  // namespace

RiskOfLosses MeasureRisk(std::vector<double> losses, const TailRisk& tail) {
  std::sort(losses.begin(), losses.end(), std::greater<>());
  RiskOfLosses result;
  result.mean = Mean(losses);
  result.cvar = MeanOfWorst(losses, LargestWindowWeight(losses.size(), tail.level));
  result.risk = (1 - tail.weight) * result.mean + tail.weight * result.cvar;
  return result;
}

std::vector<double> TailWeights(const std::vector<double>& losses, double level) {
  std::vector<size_t> order(losses.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return losses[a] > losses[b]; });
  const double largest = LargestWindowWeight(losses.size(), level);
  std::vector<double> weights(losses.size(), 0.0);
  double left = 1;
  for (size_t r : order) {
    weights[r] = std::min(largest, left);
    left -= weights[r];
  }
  return weights;
}

double LargestWindowWeight(size_t windows, double level) {
  const double in_tail = (1 - level) * static_cast<double>(windows);
  return in_tail > 1 ? 1 / in_tail : 1;
}

std::vector<double> CapWeights(std::vector<double> weights, double largest) {
  std::vector<double> falling = weights;
  std::sort(falling.begin(), falling.end(), std::greater<>());
  // Sums of the smallest first: next to a large weight they would be lost.
  std::vector<double> rest(falling.size() + 1, 0.0);
  for (size_t i = falling.size(); i-- > 0;) rest[i] = rest[i + 1] + falling[i];
  size_t cut = 0;
  double left = 1;
  for (; cut + 1 < falling.size() && falling[cut] * left > largest * rest[cut]; ++cut) left -= largest;
  const double scale = std::max(left, 0.0) / rest[cut];
  for (double& weight : weights) weight = std::min(largest, weight * scale);
  return weights;
}

}  // namespace quantmoe
