// Runs one evaluation shard through a model.
#pragma once

#include <functional>

#include "absl/status/statusor.h"

#include "plan/model/model_spec.h"
#include "quant/evaluate/scores.h"
#include "quant/evaluate/shards.h"
#include "quant/model/weights.h"

namespace quantmoe {

// Scores every target of the shard, in the order of quant/evaluate/scores.h. Sequences are padded to the
// longest of their batch on the right, which causal attention never sees. `after_layer(done, layers)` may end
// the run with an error; errors of RunModel (quant/model/likelihood.h) and of `weights`.
absl::StatusOr<ShardScores> ScoreShard(const EvalShard& shard, const ModelSpec& spec, WeightSource& weights,
                                       const std::function<absl::Status(int done, int layers)>& after_layer);

}  // namespace quantmoe
