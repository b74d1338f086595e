#include "plan/loss.h"

namespace quantmoe {

double Loss(const TableRow& row, int width) {
  const WidthFacts& facts = row.row->widths.at(width);
  return facts.block_error > 0 ? facts.block_error * row.part->loss_scale : facts.distortion;
}

}  // namespace quantmoe
