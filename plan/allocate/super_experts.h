// Experts on whose down projections everything depends, and the widths that keep them whole.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/allocate/stream_statistics.h"
#include "plan/allocate/width_rules.h"
#include "plan/model/linears.h"

namespace quantmoe {

// The MLPs that make massive activations ("super experts", arXiv 2507.23279): a few tokens of theirs, mostly
// the first of a sequence, decide about all that attend to them.
struct SuperExpert {
  int layer = 0;
  int expert = -1;  // -1: the dense or shared MLP
  double peak = 0;  // StreamStatistics::expert_peaks
  int64_t massive_tokens = 0;
};

// By layer and expert. A layer makes massive tokens when it has some and the largest norm behind it is over
// three times that before it. There an MLP is one when its peak is over a tenth of the largest and over
// twenty times the median of all MLPs that had tokens (measured: docs/quantmoe-bench.md). The 99.5th
// percentile of all experts, which the paper takes, leaves one of a few hundred, however many there are.
std::vector<SuperExpert> FindSuperExperts(const std::vector<StreamStatistics>& streams);

// Whether this is the down projection of one of them.
bool MakesMassive(const Linear& linear, const std::vector<SuperExpert>& experts);

// `allowed` without the widths below `width` for these down projections, and for the linears that share a
// width with them under the profile. A linear that rules keep below keeps the largest that they leave.
AllowedWidths RaiseSuperExperts(const std::vector<Linear>& linears, const std::vector<SuperExpert>& experts,
                                int width, const RuntimeProfile& profile, AllowedWidths allowed);

}  // namespace quantmoe
