// What a plan costs in quality: the quantity that `optimal` minimises and that plans report.
#pragma once

#include <string>
#include <vector>

#include "plan/allocate/choice_groups.h"

namespace quantmoe {

// Which loss is added up over the linears.
//   kMeasured    WidthFacts::block_error, the error that the block puts into the residual stream, times
//                PartTable::loss_scale, what such an error costs at the output. With probes the product is
//                the expected KL divergence from the original model, in nats per token. A row whose block
//                error was not measured gives its distortion.
//                For example 0.4 of block error at a scale of 0.02 is a loss of 0.008 nats per token.
//   kBlock       the block error alone: every layer's stream counts alike.
//   kDistortion  tr((W-Q) H (W-Q)^T).
//   kGate        the distortion with every token weighted by the gate of its expert (MoEQuant's AGQ).
enum class Objective { kMeasured, kBlock, kDistortion, kGate };

// "measured", "block", "distortion" or "gate"; anything else gives kMeasured.
Objective ParseObjective(const std::string& name);
std::string ObjectiveName(Objective objective);

// Loss of one linear at one width.
double Loss(const TableRow& row, int width, Objective objective = Objective::kMeasured);

// Adds the measured loss of one linear at one width in each window of the probes' sample. A part that was not
// probed adds its loss to every window. `sums` has as many windows as PartTable::window_scales.
void AddWindowLosses(const TableRow& row, int width, std::vector<double>& sums);

}  // namespace quantmoe
