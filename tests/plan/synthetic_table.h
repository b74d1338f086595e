// Models and tables made up for tests of the plan: real shapes, invented distortions.
#pragma once

#include <functional>
#include <string>

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/distortion_table.h"
#include "plan/job/job_allocation.h"
#include "plan/model/model_spec.h"

namespace quantmoe {

// config.json of Mixtral-8x7B.
std::string MixtralConfig();

// A Qwen2-MoE with `layers` layers, of which the first is dense.
std::string SmallMoeConfig(int layers = 3, int experts = 4);

ModelSpec ParseOrDie(const std::string& config);

// Distortions fall with the width and differ between linears; expert e of layer l was chosen counts(l, e)
// times.
DistortionTable MakeTable(const ModelSpec& spec, const std::function<int64_t(int layer, int expert)>& counts);
// Counts that differ everywhere.
DistortionTable MakeTable(const ModelSpec& spec);

// The shapes of DeepSeek-MoE-16B-base: 28 layers, the first dense, 64 routed experts and two shared ones as
// one.
DistortionTable DeepSeekMoe16bTable();

// A spec that allocates with `heuristic` under an average width.
JobSpec AverageBitsSpec(const std::string& heuristic, double average_bits);

}  // namespace quantmoe
