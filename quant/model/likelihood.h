// Log-likelihoods under a model whose layers pass through memory one after the other: all sequences go
// through layer l before layer l+1 is loaded.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "quant/model/decoder.h"

namespace quantmoe {

// The residual stream after the last layer for one that enters layer `first`, [tokens, hidden] both.
// `after_layer` as in RunModel. Errors of `source` and of `after_layer`.
absl::StatusOr<at::Tensor> RunLayers(
    const ModelSpec& spec, int first, at::Tensor hidden, const Batches& batches, WeightSource& source,
    const std::function<absl::Status(int layer, const at::Tensor& hidden)>& after_layer);

// The residual stream after the last layer for `ids` [tokens] i64 (flat, as `batches` cut them): [tokens,
// hidden]. `after_layer(l, hidden)` sees every layer's output, and the embedding as l = -1; it may be null.
// Its error ends the run, such as CANCELLED. Errors of Embed and of `source`.
absl::StatusOr<at::Tensor> RunModel(
    const ModelSpec& spec, const at::Tensor& ids, const Batches& batches, WeightSource& source,
    const std::function<absl::Status(int layer, const at::Tensor& hidden)>& after_layer);

// How far a stream is from a reference at the model's output: KL(softmax of the reference || softmax of the
// stream) of each row, in nats, and of how many rows the reference's most likely token is not the stream's.
struct Divergences {
  std::vector<double> rows;
  int64_t top1_flips = 0;
};

// One for each of `changed`. All are residual streams after the last layer, [rows, hidden] f32.
std::vector<Divergences> CompareRows(const OutputHead& head, const at::Tensor& reference,
                                     const std::vector<at::Tensor>& changed);

struct TokenScore {
  double log_probability = 0;  // natural log, f32 log-softmax
  bool is_argmax = false;
};

// The score of token `tokens[i]` as the successor of row `rows[i]` of `hidden` [tokens, hidden]. INTERNAL
// unless there are as many rows as tokens.
absl::StatusOr<std::vector<TokenScore>> ScoreTokens(const OutputHead& head, const at::Tensor& hidden,
                                                    const std::vector<int64_t>& rows,
                                                    const std::vector<int64_t>& tokens);

}  // namespace quantmoe
