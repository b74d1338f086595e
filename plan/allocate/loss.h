// What a plan costs in quality: the quantity that `optimal` minimises and that plans report.
#pragma once

#include <string>

#include "plan/allocate/choice_groups.h"

namespace quantmoe {

// Which loss is added up over the linears.
//   kMeasured    the error that the block puts into the residual stream (WidthFacts::block_error), times what
//   such
//                an error costs at the output (PartTable::loss_scale): with probes, the expected KL
//                divergence from the original model in nats per token. Rows without a measured block error
//                give the distortion.
//   kBlock       the same without the loss scale: every layer's stream counts alike.
//   kDistortion  tr((W-Q) H (W-Q)^T).
//   kGate        the distortion with every token weighted by the gate of its expert (MoEQuant's AGQ).
enum class Objective { kMeasured, kBlock, kDistortion, kGate };

// "measured", "block", "distortion" or "gate"; anything else gives kMeasured.
Objective ParseObjective(const std::string& name);
std::string ObjectiveName(Objective objective);

// Loss of one linear at one width.
double Loss(const TableRow& row, int width, Objective objective = Objective::kMeasured);

}  // namespace quantmoe
