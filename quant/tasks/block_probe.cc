#include "quant/tasks/block_probe.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace quantmoe {
namespace {

// A gated MLP on the sampled rows. An error of gate or up changes what the product of both brings into the
// down projection, so every change costs two products at most.
class MlpBlock {
 public:
  MlpBlock(GatedMlp mlp, at::Tensor rows, at::Tensor factors)
      : mlp_(std::move(mlp)),
        rows_(std::move(rows)),
        factors_(std::move(factors)),
        gate_(mlp_.Gate(rows_)),
        up_(mlp_.Up(rows_)),
        inner_(mlp_.Activate(gate_.clone(), up_)) {}

  BlockProbe::Change operator()(size_t which, const at::Tensor& error) const {
    const size_t place = which % 3;
    const at::Tensor change = at::mm(place == 2 ? inner_ : rows_, error.t());
    if (place == 2) return {change, change * factors_};
    const at::Tensor inner =
        place == 0 ? mlp_.Activate(gate_ - change, up_) : mlp_.Activate(gate_.clone(), up_ - change);
    return {change, mlp_.DownChange(inner_ - inner).mul_(factors_)};
  }

 private:
  const GatedMlp mlp_;
  const at::Tensor rows_, factors_, gate_, up_, inner_;
};

}  // namespace

BlockProbe::BlockProbe(Block block, const at::Tensor& stream_squares, at::Tensor gates, int64_t tokens)
    : block_(std::move(block)),
      weights_(stream_squares.clamp_min(1e-20).reciprocal()),
      gates_(std::move(gates)),
      scale_(static_cast<double>(tokens) /
             static_cast<double>(std::max<int64_t>(1, stream_squares.size(0)))) {}

BlockProbe::Errors BlockProbe::Measure(size_t which, const at::Tensor& error) const {
  Errors errors;
  if (weights_.size(0) == 0) return errors;
  const Change change = block_(which, error.to(weights_.device()));
  // Rows first: a sum to a scalar splits over threads.
  errors.block = change.block.pow(2).sum(1).mul(weights_).sum(at::kDouble).item<double>() * scale_;
  if (gates_.defined()) {
    const at::Tensor rows = change.linear.pow(2).sum(1, /*keepdim=*/true) * gates_;
    errors.gated = rows.sum(at::kDouble).item<double>() * scale_;
  }
  return errors;
}

BlockProbe AttentionProbe(const Attention& attention, const std::vector<LinearKind>& kinds,
                          const at::Tensor& sample, const at::Tensor& stream, double residual_multiplier,
                          const Batches& batches, int64_t tokens) {
  const at::Tensor context = attention.Context(sample, batches);
  const at::Tensor output = attention.Project(context);
  const at::Tensor stream_squares = (stream + output * residual_multiplier).pow(2).sum(1);
  const auto block = [=](size_t which, const at::Tensor& error) -> BlockProbe::Change {
    if (kinds[which] == LinearKind::kOutput) return {{}, at::mm(context, error.t())};
    const Attention changed = attention.With(kinds[which], attention.Weight(kinds[which]) - error);
    return {{}, output - changed.Project(changed.Context(sample, batches))};
  };
  return BlockProbe(block, stream_squares, /*gates=*/{}, tokens);
}

at::Tensor FirstRows(const at::Tensor& rows, int64_t count) {
  return rows.slice(0, 0, std::min(rows.size(0), count)).clone(at::MemoryFormat::Contiguous);
}

ProbeRows::ProbeRows(size_t shards, c10::Device device)
    : per_shard_(std::max<int64_t>(1, kProbeTokens / static_cast<int64_t>(shards))), device_(device) {}

void ProbeRows::Add(const at::Tensor& rows, const at::Tensor& stream_squares, const at::Tensor& factors) {
  const int64_t take = std::min(rows.size(0), per_shard_);
  rows_.push_back(FirstRows(rows, take));
  stream_squares_.push_back(FirstRows(stream_squares, take));
  if (factors.defined()) factors_.push_back(FirstRows(factors, take));
  count_ += take;
}

BlockProbe ProbeRows::Probe(const GatedMlp& mlp, int64_t hidden, int64_t tokens) const {
  const at::Tensor rows = count_ > 0 ? at::cat(rows_, 0) : at::empty({0, hidden}, device_);
  const at::Tensor stream_squares = count_ > 0 ? at::cat(stream_squares_, 0) : at::empty({0}, device_);
  const at::Tensor gates = factors_.empty() ? at::Tensor() : at::cat(factors_, 0);
  const at::Tensor factors = gates.defined() ? gates : at::ones({count_, 1}, device_);
  return BlockProbe(MlpBlock(mlp, rows, factors), stream_squares, gates, tokens);
}

}  // namespace quantmoe
