// The second pass of a job with quantized propagation: layer after layer, each solved on what the quantized
// layers before it give.
#pragma once

#include <vector>

#include "plan/graph/planned_task.h"

namespace quantmoe {

bool SolvesAgain(const ResolvedJob& job);

// In an order in which producers come first, for each layer L:
//   resolve-l<L>-p0     attention; in plan, hidden.<S> (original), quantized.<S>; out plan (of the part),
//   weights attend-l<L>-s<S>    forward, its attention half; in hidden, plan.0; out middle, ffn_input,
//   routing, counts resolve-l<L>-p<P>   the other parts; in plan, ffn_input.<S> (original), quantized.<S>,
//   routing.<S> feed-l<L>-s<S>      forward, its other half; in middle, ffn_input, routing, plan.<P>; out
//   hidden
// and at the end
//   assemble            in plan, resolved.<L>.<P>; out plan
std::vector<PlannedTask> PlanQuantizedPass(const ResolvedJob& job, int shards);

}  // namespace quantmoe
