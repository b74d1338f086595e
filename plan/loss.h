// What a plan costs in quality: the quantity that `optimal` minimises and that plans report.
#pragma once

#include "plan/choice_groups.h"

namespace quantmoe {

// Loss of one linear at one width: the error that its block puts into the residual stream
// (WidthFacts::block_error), times what such an error costs at the output (PartTable::loss_scale): with
// probes, the expected KL divergence from the original model in nats per token. Rows without a measured block
// error give the layer-wise distortion.
double Loss(const TableRow& row, int width);

}  // namespace quantmoe
