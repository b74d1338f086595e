// What one calibration shard shows in the residual stream behind a layer.
#pragma once

#include <ATen/core/Tensor.h>

#include "plan/allocate/stream_statistics.h"
#include "quant/model/experts.h"
#include "quant/model/router.h"

namespace quantmoe {

// Tokens of a sequence of which attention is looked at.
inline constexpr int64_t kAttentionTokens = 256;

// `next` [sequences * length, hidden] f32 is the stream behind the layer, `received` [tokens] f32 the share
// of the attention of one sequence that each of its tokens received. `routing` is undefined in layers without
// experts.
StreamStatistics StatisticsOfShard(int layer, const at::Tensor& next, int64_t length,
                                   const at::Tensor& received, const OutputPeaks& peaks,
                                   const Routing& routing);

}  // namespace quantmoe
