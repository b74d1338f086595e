// A decoder-only language model, one layer at a time: nothing of a layer outlives its use. Activations are
// flat, [tokens, hidden], over batches of whole sequences.
#pragma once

#include <functional>
#include <optional>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/linears.h"
#include "quant/model/attention.h"
#include "quant/model/experts.h"
#include "quant/model/router.h"
#include "quant/model/weights.h"

namespace quantmoe {

// What the first half of a layer leaves, [tokens, hidden] each.
struct AttentionTrace {
  at::Tensor stream;     // the residual stream after attention
  at::Tensor ffn_input;  // its norm: input of router, experts and shared expert
};

// The stages of one layer, so that calibration can look between them.
class DecoderLayer {
 public:
  // Loads norms, attention and router; experts are loaded by FeedForward as they are needed. `spec`
  // must outlive the object. Errors of `source`.
  static absl::StatusOr<DecoderLayer> Load(const ModelSpec& spec, int layer, WeightSource& source);

  // The norm of `hidden` [tokens, hidden], which is the input of q, k and v: same shape and dtype.
  at::Tensor AttentionInput(const at::Tensor& hidden) const;
  const Attention& attention() const { return attention_; }
  // From the residual stream `hidden` [tokens, hidden] through attention, in runs of sequences that caches
  // hold.
  AttentionTrace RunAttention(const at::Tensor& hidden, const Batches& batches) const;
  // Where tokens [tokens, hidden] go; undefined tensors for a layer without experts.
  Routing Route(const at::Tensor& ffn_input) const;

 private:
  const ModelSpec* spec_ = nullptr;
  at::Tensor input_norm_, input_norm_bias_, ffn_norm_, ffn_norm_bias_;
  Attention attention_;
  std::optional<Router> router_;
};

// What passes between the stages of a layer.
struct LayerTrace {
  at::Tensor ffn_input;  // [tokens, hidden]
  Routing routing;
  at::Tensor output;  // [tokens, hidden], the residual stream after the layer
};

// One layer from residual stream `hidden` [tokens, hidden] to residual stream. Errors of `source`.
absl::StatusOr<LayerTrace> RunLayer(const ModelSpec& spec, int layer, const at::Tensor& hidden,
                                    const Batches& batches, WeightSource& source);

// Embedding rows of `ids` [tokens] i64 -> [tokens, hidden] in the dtype of `source`. INVALID_ARGUMENT
// TOKEN_OUT_OF_RANGE for an id outside the vocabulary; errors of `source`.
absl::StatusOr<at::Tensor> Embed(const ModelSpec& spec, const at::Tensor& ids, WeightSource& source);

// The end of the model: final norm and head, for any rows of the residual stream.
class OutputHead {
 public:
  // `spec` must outlive the object. Errors of `source`.
  static absl::StatusOr<OutputHead> Load(const ModelSpec& spec, WeightSource& source);
  // [rows, hidden] -> [rows, vocab] in the same dtype, before softmax.
  at::Tensor Logits(const at::Tensor& hidden) const;
  int64_t vocabulary() const { return head_.weight.size(0); }

 private:
  const ModelSpec* spec_ = nullptr;
  at::Tensor norm_, norm_bias_;
  LinearLayer head_;
};

}  // namespace quantmoe
