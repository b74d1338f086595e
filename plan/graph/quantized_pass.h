// The second pass of a job with quantized propagation, the re-solve: one layer after the other, each on what
// the quantized layers before it give.
#pragma once

#include <vector>

#include "plan/graph/task_definition.h"

namespace quantmoe {

// Appends tasks in an order in which producers come first. For each layer L with its shards S, part 0
// (attention) and the other parts P, by label, what they read and what they write:
//
//   resolve-l<L>-p0    plan, hidden.<S> (original), quantized.<S>  ->  plan (of the part), weights
//   attend-l<L>-s<S>   hidden, plan.0  ->  middle, ffn_input, routing, counts
//   resolve-l<L>-p<P>  plan, ffn_input.<S> (original), quantized.<S>, routing.<S>  ->  as the first
//   feed-l<L>-s<S>     middle, ffn_input, routing, plan.<P>  ->  hidden
// At the end `assemble` reads plan and resolved.<L>.<P>, and writes the plan with the new tensors.
void AddQuantizedPass(const ResolvedJob& job, int shards, std::vector<TaskDefinition>& tasks);

}  // namespace quantmoe
