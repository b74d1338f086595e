// Upper estimates of what one task holds in memory, from the shapes of the model. The resident program itself
// is not counted.
#pragma once

#include <cstdint>

#include "plan/job/job_spec.h"

namespace quantmoe {

int64_t PrepareBytes(const ResolvedJob& job);
int64_t ForwardBytes(const ResolvedJob& job, int layer);
int64_t SampleForwardBytes(const ResolvedJob& job, int layer);  // of the sample of the probes
int64_t SolveBytes(const ResolvedJob& job, const Part& part);
int64_t ReSolveBytes(const ResolvedJob& job, const Part& part);
int64_t ProbeBytes(const ResolvedJob& job, int streams);  // that run side by side
int64_t PredictBytes(const ResolvedJob& job, int layer);
int64_t AllocateBytes(const ResolvedJob& job);
int64_t RefineBytes(const ResolvedJob& job);
int64_t EvaluateBytes(const ResolvedJob& job);
int64_t PublishBytes(const ResolvedJob& job);

}  // namespace quantmoe
