// What the graph of a job looks like: the parts of its layers, and which tasks it has beside those of every
// job.
#pragma once

#include <span>
#include <vector>

#include "plan/job/job_spec.h"

namespace quantmoe {

// The parts of one layer, attention first.
std::span<const Part> PartsOf(const ResolvedJob& job, int layer);

// Whether a second pass solves again, on what quantized layers give (plan/graph/quantized_pass.h).
bool SolvesAgain(const ResolvedJob& job);

// Whether probes measure what errors of each layer cost at the output.
bool WeighsBySensitivity(const ResolvedJob& job);

// Groups of linears of a layer that a probe moves together (PartTable::ProbeGroup).
int ProbeGroupsOf(const ResolvedJob& job, int layer);

// MoE layers whose importance a trained network estimates, ascending.
std::vector<int> PredictedLayers(const ResolvedJob& job);

// Whether the plan is measured and made better until the effort is spent, and has to beat the uniform plan of
// the same budget before it is published.
bool HasToWin(const ResolvedJob& job);

// Whether the divergence of the plan from the original model is measured beside that of the uniform plan. A
// job that leaves measurements out has it only where it decides what is published.
bool HasVerdict(const ResolvedJob& job);

// Whether the plan is measured against the uniform plan of the same budget. Behind a second pass it is not:
// the uniform plan has only the tensors of the first.
bool HasReference(const ResolvedJob& job);

}  // namespace quantmoe
