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
                       const ExpertCalibration& calibration, bool scaled_inputs)
    : dispatches_(dispatches),
      expert_(expert),
      all_tokens_(calibration.all_tokens.contains(expert)),
      scaled_inputs_(scaled_inputs),
      // Scaled inputs have their weight already.
      gate_weighted_(calibration.gate_weighted && !all_tokens_ && !scaled_inputs) {
  double squares = 0, all_squares = 0;
  int64_t all = 0;
  for (const Dispatch& dispatch : dispatches) {
    routed_ += dispatch.count(expert);
    squares += dispatch.Weights(expert).to(at::kDouble).pow(2).sum().item<double>();
    all += dispatch.weights.size(0);
    all_squares += dispatch.weights.to(at::kDouble).pow(2).sum().item<double>();
  }
  if (!all_tokens_ && routed_ < kPlenty * width) prior_ = calibration.shrinkage * static_cast<double>(width);
  if ((gate_weighted_ || scaled_inputs_) && all > 0) {
    mean_square_gate_ =
        routed_ > 0 ? squares / static_cast<double>(routed_) : all_squares / static_cast<double>(all);
  }
}

at::Tensor ExpertRows::Tokens(size_t shard, int64_t shard_tokens) const {
  return all_tokens_ ? at::arange(shard_tokens, at::kLong) : dispatches_[shard].Tokens(expert_);
}

at::Tensor ExpertRows::InputScales(size_t shard, int64_t shard_tokens) const {
  if (!scaled_inputs_) return at::Tensor();
  if (!all_tokens_) return dispatches_[shard].Weights(expert_);
  return at::full({shard_tokens, 1}, std::sqrt(mean_square_gate_), at::kFloat);
}

at::Tensor ExpertRows::SampleScale() const {
  return scaled_inputs_ ? at::full({1, 1}, std::sqrt(mean_square_gate_), at::kFloat) : at::Tensor();
}

at::Tensor ExpertRows::Scales(size_t shard) const {
  return gate_weighted_ ? dispatches_[shard].Weights(expert_) : at::Tensor();
}

at::Tensor ExpertRows::Sample(int64_t shard_tokens) const {
  if (prior_ == 0 || shard_tokens == 0) return at::empty({0}, at::kLong);
  const int64_t each = std::max<int64_t>(1, kSample / static_cast<int64_t>(dispatches_.size()));
  const int64_t rows = std::min(shard_tokens, each);
  // Evenly spread over the shard.
  return at::arange(rows, at::kLong) * (shard_tokens / rows);
}

double ExpertRows::SupportWeight(int64_t sampled) const {
  const double gate = gate_weighted_ ? mean_square_gate_ : 1;
  return sampled == 0 ? 0 : gate * prior_ / static_cast<double>(sampled);
}

at::Tensor Scaled(const at::Tensor& rows, const at::Tensor& scales) {
  return scales.defined() ? rows * scales : rows;
}

}  // namespace quantmoe
