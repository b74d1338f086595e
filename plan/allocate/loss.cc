#include "plan/allocate/loss.h"

#include <array>

namespace quantmoe {
namespace {

constexpr std::array<const char*, 4> kNames = {"measured", "block", "distortion", "gate"};

}  // namespace

Objective ParseObjective(const std::string& name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<Objective>(i);
  }
  return Objective::kMeasured;
}

std::string ObjectiveName(Objective objective) { return kNames[static_cast<size_t>(objective)]; }

double Loss(const TableRow& row, int width, Objective objective) {
  const WidthFacts& facts = row.row->widths.at(width);
  // The smallest width has the largest error: without one there was nothing to measure.
  const WidthFacts& coarsest = row.row->widths.begin()->second;
  if (objective == Objective::kGate && coarsest.gate_distortion > 0) return facts.gate_distortion;
  const bool by_block = objective == Objective::kMeasured || objective == Objective::kBlock;
  if (!by_block || coarsest.block_error <= 0) return facts.distortion;
  return facts.block_error * (objective == Objective::kMeasured ? row.part->loss_scale : 1.0);
}

void AddWindowLosses(const TableRow& row, int width, std::vector<double>& sums) {
  const std::vector<double>& scales = row.part->window_scales;
  const double block_error = row.row->widths.at(width).block_error;
  const bool probed = scales.size() == sums.size() && row.row->widths.begin()->second.block_error > 0;
  for (size_t w = 0; w < sums.size(); ++w) sums[w] += probed ? block_error * scales[w] : Loss(row, width);
}

}  // namespace quantmoe
