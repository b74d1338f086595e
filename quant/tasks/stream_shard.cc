#include "quant/tasks/stream_shard.h"

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// How often each expert was given a token of `rows`.
std::vector<int64_t> CountRouted(const Routing& routing, const at::Tensor& rows, size_t experts) {
  std::vector<int64_t> counts(experts);
  if (!routing.experts.defined()) return counts;
  const at::Tensor ids = routing.experts.index_select(0, rows).contiguous();
  for (int64_t i = 0; i < ids.numel(); ++i) ++counts[static_cast<size_t>(ids.const_data_ptr<int64_t>()[i])];
  return counts;
}

}  // namespace

StreamStatistics StatisticsOfShard(int layer, const at::Tensor& next, int64_t length,
                                   const at::Tensor& received, const OutputPeaks& peaks,
                                   const Routing& routing) {
  const at::Tensor norms = next.pow(2).sum(1).sqrt();
  StreamStatistics statistics;
  statistics.layer = layer;
  statistics.tokens = norms.size(0);
  statistics.median_norm = norms.median().item<double>();
  statistics.largest_norm = norms.max().item<double>();
  const at::Tensor massive = norms.gt(kMassiveRatio * statistics.median_norm).nonzero().squeeze(1);
  statistics.massive_tokens = massive.numel();
  statistics.massive_starts = massive.remainder(length).eq(0).sum().item<int64_t>();
  statistics.sink_share = received.max().item<double>();
  statistics.sink_position = received.argmax().item<int64_t>();
  statistics.expert_peaks = peaks.experts;
  statistics.mlp_peak = peaks.mlp;
  statistics.massive_routed = CountRouted(routing, massive, peaks.experts.size());
  return statistics;
}

}  // namespace quantmoe
