// How much one task computes, in multiplications: only tasks of one kind compare, which is what a time
// estimate needs.
#pragma once

#include "plan/job/job_spec.h"

namespace quantmoe {

double ForwardWork(const ResolvedJob& job, int layer);
double SolveWork(const ResolvedJob& job, const Part& part, int shards);
double ProbeWork(const ResolvedJob& job, int layer);
// A probe around a plan: every group one width up and one down.
double MovesWork(const ResolvedJob& job, int layer);
// The whole model and its head once over the sample of the search.
double PassWork(const ResolvedJob& job);
// One shard of evaluation, taken as 32768 tokens.
double EvaluateWork(const ResolvedJob& job);
// Of one layer: an epoch is a forward and a backward pass of the network, and training takes about ten.
double PredictWork(const ResolvedJob& job, int shards);
// One step: the original model, the plan, its tries, and the streams that the next probes start from.
double RefineWork(const ResolvedJob& job);
// Probes of all layers around a plan, and the step.
double SearchRoundWork(const ResolvedJob& job);
double VerdictWork(const ResolvedJob& job);
// Prepare, allocate and publish follow the size of the model.
double WholeModelWork(const ResolvedJob& job);

// Tokens of an evaluation shard (quant/evaluate/shards.h cuts there).
inline constexpr int kEvaluationShardTokens = 32768;

}  // namespace quantmoe
