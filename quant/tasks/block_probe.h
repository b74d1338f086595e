// What quantizing one linear puts into the residual stream, measured on a sample of tokens.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "quant/model/attention.h"
#include "quant/model/experts.h"

namespace quantmoe {

// Tokens on which the error of a whole block is measured. All of them would cost as much as the solve itself.
inline constexpr int64_t kProbeTokens = 1024;

// Measures what a block puts into the residual stream when one of its linears is quantized, over a sample of
// tokens. The next norm divides every token by its length, so errors count relative to the token's own
// stream.
class BlockProbe {
 public:
  // What an error of one weight changes for the sampled tokens.
  struct Change {
    at::Tensor linear;  // [sampled, out] of the linear itself; undefined where nobody asks
    at::Tensor block;   // [sampled, hidden]
  };
  // `error` [out, in] is the original weight of linear number `which` (of the part) minus the quantized one.
  using Block = std::function<Change(size_t which, const at::Tensor& error)>;

  // `stream_squares` [sampled] are the squared lengths of the stream at the sampled tokens, of `tokens` in
  // all. `gates` [sampled, 1] are factors on the outputs of the block, undefined when there are none.
  BlockProbe(Block block, const at::Tensor& stream_squares, at::Tensor gates, int64_t tokens);

  struct Errors {
    // Sum over tokens of |error|^2 / |stream|^2, scaled from the sample to all tokens.
    double block = 0;
    // WidthFacts::gate_distortion; 0 without gates.
    double gated = 0;
  };
  // `error` [out, in] as for Block, on any device. 0 when there is no sample.
  Errors Measure(size_t which, const at::Tensor& error) const;

 private:
  Block block_;
  at::Tensor weights_;  // [sampled]
  at::Tensor gates_;
  double scale_;  // from the sample to all tokens
};

// The probe of an attention block on whole sequences, `sample` [sampled, hidden] as `batches` cut it.
// `stream` are the same rows of the residual stream before it; a part's linears are of these `kinds`.
BlockProbe AttentionProbe(const Attention& attention, const std::vector<LinearKind>& kinds,
                          const at::Tensor& sample, const at::Tensor& stream, double residual_multiplier,
                          const Batches& batches, int64_t tokens);

// The first `count` of `rows` [rows, ...], at most all, contiguous. A copy of its own: a view that waits for
// the shards to come would keep all that its shard holds, however little of it is sampled.
at::Tensor FirstRows(const at::Tensor& rows, int64_t count);

// A sample of the rows that are added: equally many of each shard, because texts change on the way. Each has
// a factor on its output.
class ProbeRows {
 public:
  ProbeRows(size_t shards, c10::Device device);

  // The first of `rows` [tokens, hidden] f32 with their `stream_squares` [tokens] f32 and `factors` [tokens,
  // 1] f32, undefined when there are none.
  void Add(const at::Tensor& rows, const at::Tensor& stream_squares, const at::Tensor& factors);

  // The probe of a gated MLP on these rows, out of `tokens` in all.
  BlockProbe Probe(const GatedMlp& mlp, int64_t hidden, int64_t tokens) const;

 private:
  std::vector<at::Tensor> rows_, stream_squares_, factors_;
  const int64_t per_shard_;
  const c10::Device device_;
  int64_t count_ = 0;
};

}  // namespace quantmoe
