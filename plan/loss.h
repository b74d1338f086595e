// What a plan costs in quality: the quantity that `optimal` minimises and that plans report.
#pragma once

#include "plan/choice_groups.h"

namespace quantmoe {

// Loss of one linear at one width: the error that its block puts into the residual stream
// (WidthFacts::block_error), which compares linears of unlike place and scale. Rows without that measurement
// give the layer-wise distortion.
double Loss(const TableRow& row, int width);

}  // namespace quantmoe
