#include "plan/loss.h"

namespace quantmoe {

double Loss(const TableRow& row, int width) {
  const WidthFacts& facts = row.row->widths.at(width);
  // The smallest width has the largest error: without one there was nothing to measure.
  const bool measured = row.row->widths.begin()->second.block_error > 0;
  return measured ? facts.block_error * row.part->loss_scale : facts.distortion;
}

}  // namespace quantmoe
