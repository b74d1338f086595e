// What quantizing one linear puts into the residual stream, measured on a sample of tokens.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include <ATen/ATen.h>

#include "quant/model/decoder.h"

namespace quantmoe {

// Tokens on which the error of a whole block is measured. All of them would cost as much as the solve itself.
inline constexpr int64_t kProbeTokens = 1024;

// Measures what a block puts into the residual stream when one of its linears is quantized, over a sample of
// tokens. The next norm divides every token by its length, so errors count relative to the token's own
// stream.
class BlockProbe {
 public:
  // `block` computes the output of the block with `weight` in its linear number `which` (of the part).
  using Block = std::function<at::Tensor(size_t which, const at::Tensor& weight)>;
  // The inputs of that linear for the sampled tokens.
  using Inputs = std::function<at::Tensor(size_t which)>;
  // `energy` [sampled] is the squared stream of each sampled token.
  BlockProbe(Block block, at::Tensor reference, const at::Tensor& energy, int64_t tokens)
      : block_(std::move(block)),
        reference_(std::move(reference)),
        weights_(energy.clamp_min(1e-20).reciprocal()),
        tokens_(tokens) {}

  // `gates` [sampled, 1] are the factors on the outputs of the sampled tokens.
  void SetGates(Inputs inputs, at::Tensor gates) {
    inputs_ = std::move(inputs);
    gates_ = std::move(gates);
  }

  // WidthFacts::gate_distortion of a linear whose weight has this error; 0 without gates.
  double GateDistortion(size_t which, const at::Tensor& error) const {
    const int64_t sampled = reference_.size(0);
    if (sampled == 0 || !gates_.defined()) return 0;
    const at::Tensor moved = error.to(reference_.device());
    const at::Tensor errors = at::matmul(inputs_(which), moved.t()).pow(2).sum(1, /*keepdim=*/true) * gates_;
    return errors.sum(0).sum(at::kDouble).item<double>() * static_cast<double>(tokens_) /
           static_cast<double>(sampled);
  }

  // Sum over tokens of |error|^2 / |stream|^2, scaled from the sample to all tokens. 0 when there is no
  // sample.
  double Error(size_t which, const at::Tensor& weight) const {
    const int64_t sampled = reference_.size(0);
    if (sampled == 0) return 0;
    const at::Tensor moved = weight.to(reference_.device());
    const at::Tensor errors = (block_(which, moved) - reference_).pow(2).sum(1).mul(weights_);
    return errors.sum(at::kDouble).item<double>() * static_cast<double>(tokens_) /
           static_cast<double>(sampled);
  }

 private:
  Block block_;
  at::Tensor reference_;  // [sampled, hidden]
  at::Tensor weights_;    // [sampled]
  int64_t tokens_;
  Inputs inputs_;
  at::Tensor gates_;  // [sampled, 1], undefined when there are none
};

// A sample of the rows that are added: equally many of each shard, because texts change on the way. Each has
// a factor on its output.
class ProbeRows {
 public:
  ProbeRows(size_t shards, c10::Device device)
      : per_shard_(std::max<int64_t>(1, kProbeTokens / static_cast<int64_t>(shards))), device_(device) {}

  void Add(const at::Tensor& rows, const at::Tensor& energy, const at::Tensor& factors) {
    const int64_t take = std::min(rows.size(0), per_shard_);
    rows_.push_back(rows.slice(0, 0, take));
    energy_.push_back(energy.slice(0, 0, take));
    if (factors.defined()) factors_.push_back(factors.slice(0, 0, take));
    count_ += take;
  }

  // The probe of a gated MLP on these rows, out of `tokens` in all.
  BlockProbe Probe(const GatedMlp& mlp, int64_t hidden, int64_t tokens) const {
    const at::Tensor rows = count_ > 0 ? at::cat(rows_, 0) : at::empty({0, hidden}, device_);
    const at::Tensor energy = count_ > 0 ? at::cat(energy_, 0) : at::empty({0}, device_);
    const at::Tensor factors = factors_.empty() ? at::ones({count_, 1}, device_) : at::cat(factors_, 0);
    BlockProbe probe(
        [mlp, rows, factors](size_t which, const at::Tensor& weight) {
          return mlp.With(which % 3, weight).Forward(rows) * factors;
        },
        mlp.Forward(rows) * factors, energy, tokens);
    const at::Tensor inner = mlp.Inner(rows);
    const auto inputs = [rows, inner](size_t which) { return which % 3 == 2 ? inner : rows; };
    if (!factors_.empty()) probe.SetGates(inputs, factors);
    return probe;
  }

 private:
  std::vector<at::Tensor> rows_, energy_, factors_;
  const int64_t per_shard_;
  const c10::Device device_;
  int64_t count_ = 0;
};

}  // namespace quantmoe
