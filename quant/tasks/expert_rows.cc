#include "quant/tasks/expert_rows.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// Sampled tokens over all shards: enough for a full-rank Hessian of common widths with the expert's own
// tokens.
constexpr int64_t kSample = 2048;
// With this many tokens for each input channel a Hessian needs no support.
constexpr int64_t kPlenty = 8;

}  // namespace

ExpertRows::ExpertRows(const std::vector<Dispatch>& dispatches, int64_t expert, int64_t width,
                       const ExpertCalibration& calibration)
    : dispatches_(dispatches), expert_(expert), gate_weighted_(calibration.gate_weighted) {
  double squares = 0, all_squares = 0;
  int64_t all = 0;
  for (const Dispatch& dispatch : dispatches) {
    routed_ += dispatch.count(expert);
    squares += dispatch.Weights(expert).to(at::kDouble).pow(2).sum().item<double>();
    all += dispatch.weights.size(0);
    all_squares += dispatch.weights.to(at::kDouble).pow(2).sum().item<double>();
  }
  if (routed_ < kPlenty * width) prior_ = calibration.shrinkage * static_cast<double>(width);
  if (gate_weighted_ && all > 0) {
    mean_gate_ = std::sqrt(routed_ > 0 ? squares / static_cast<double>(routed_)
                                       : all_squares / static_cast<double>(all));
  }
}

int64_t ExpertRows::SampleSize(int64_t shard_tokens) const {
  if (prior_ == 0) return 0;
  return std::min<int64_t>(shard_tokens,
                           std::max<int64_t>(1, kSample / static_cast<int64_t>(dispatches_.size())));
}

at::Tensor ExpertRows::Tokens(size_t shard, int64_t shard_tokens) const {
  const at::Tensor routed = dispatches_[shard].Tokens(expert_);
  const int64_t sample = SampleSize(shard_tokens);
  if (sample == 0) return routed;
  // Evenly spread over the shard.
  return at::cat({routed, at::arange(sample, at::kLong) * (shard_tokens / sample)}, 0);
}

at::Tensor ExpertRows::Scales(size_t shard, int64_t shard_tokens) const {
  const int64_t sample = SampleSize(shard_tokens);
  if (!gate_weighted_ && sample == 0) return at::Tensor();
  const at::Tensor own = gate_weighted_ ? dispatches_[shard].Weights(expert_)
                                        : at::ones({dispatches_[shard].count(expert_), 1}, at::kFloat);
  const double total = static_cast<double>(sample) * static_cast<double>(dispatches_.size());
  const double each = sample == 0 ? 0 : mean_gate_ * std::sqrt(prior_ / total);
  return at::cat({own, at::full({sample, 1}, each, at::kFloat)}, 0);
}

at::Tensor Scaled(const at::Tensor& rows, const at::Tensor& scales) {
  return scales.defined() ? rows * scales : rows;
}

}  // namespace quantmoe
