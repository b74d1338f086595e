// Causal self-attention of one decoder layer over batches of whole sequences (no cache).
#pragma once

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/model/linears.h"
#include "quant/model/weights.h"
#include "quant/ops/rope.h"

namespace quantmoe {

// Sequences of one length whose tokens follow one another in a flat activation [tokens, hidden].
struct TokenBatch {
  int64_t sequences = 0;
  int64_t length = 0;
  int64_t tokens() const { return sequences * length; }
};
using Batches = std::vector<TokenBatch>;

// The same sequences in runs whose activations caches hold: some sequences of one length, one at least.
Batches CutBatches(const Batches& batches);

class Attention {
 public:
  // The linears, norms and sinks of one layer; the first is 0. `spec` must outlive the object. Errors of
  // `source`.
  static absl::StatusOr<Attention> Load(const ModelSpec& spec, int layer, WeightSource& source);

  // What the output projection sees: x [tokens, hidden] (normalised) -> [tokens, heads * value_dim].
  at::Tensor Context(const at::Tensor& x, const Batches& batches) const;
  // The share of all attention that each token receives, mean over heads: [length] f32 that sums up to at
  // most
  // 1. `x` [length, hidden] is one sequence.
  at::Tensor Received(const at::Tensor& x) const;
  // What a linear sees when attention is fed x [tokens, hidden]: x itself, the context for the output
  // projection, and in MLA the normalised low-rank query [tokens, q_lora] or keys and values [tokens,
  // kv_lora].
  at::Tensor InputOf(LinearKind kind, const at::Tensor& x, const Batches& batches) const;
  // [out, in], of a linear that the layer has.
  const at::Tensor& Weight(LinearKind kind) const { return linears_.at(kind).weight; }
  // The same attention with another weight [out, in] in one projection.
  Attention With(LinearKind kind, const at::Tensor& weight) const;
  // The output projection: [tokens, heads * value_dim] -> [tokens, hidden].
  at::Tensor Project(const at::Tensor& context) const { return ApplyTo(LinearKind::kOutput, context); }

 private:
  // Of one batch, [sequences, heads, length, dim]; rotated.
  struct Heads {
    at::Tensor query, key, value;
  };
  at::Tensor BatchContext(const at::Tensor& x, const TokenBatch& batch, const RopeTable& table) const;
  Heads GroupedHeads(const at::Tensor& x, const TokenBatch& batch, const RopeTable& positions) const;
  Heads LatentHeads(const at::Tensor& x, const TokenBatch& batch, const RopeTable& positions) const;
  // The norm of queries or keys in grouped attention that comes before rotation, x [tokens, heads *
  // head_dim].
  at::Tensor NormHeads(const at::Tensor& x, const at::Tensor& weight) const;
  // Queries or keys [sequences, heads, length, head_dim], rotated and with the norm that comes after
  // rotation; as they are in layers without positions.
  at::Tensor Rotated(const at::Tensor& x, const RopeTable& positions, const at::Tensor& norm) const;
  // Queries as their temperature changes along a sequence, in layers without positions.
  at::Tensor Tempered(const at::Tensor& query) const;
  // The context of positions [first, first + count) from the same ones, without sinks.
  at::Tensor Attend(const Heads& heads, int64_t first, int64_t count) const;
  // The same of whole sequences, with whatever values: [sequences, heads, length, width of the values].
  at::Tensor AttendAll(const Heads& heads) const;
  Heads HeadsOf(const at::Tensor& x, const TokenBatch& batch, const RopeTable& positions) const;
  // [tokens, hidden] -> [tokens, q_lora], and [tokens, kv_lora + rope_dim] -> [tokens, kv_lora].
  at::Tensor QueryLatent(const at::Tensor& x) const;
  at::Tensor KeyValueLatent(const at::Tensor& down) const;
  at::Tensor ApplyTo(LinearKind kind, const at::Tensor& x) const { return Apply(linears_.at(kind), x); }

  const ModelSpec* spec_ = nullptr;
  LayerSpec layer_;
  std::map<LinearKind, LinearLayer> linears_;
  at::Tensor query_norm_, key_norm_, sinks_;
};

}  // namespace quantmoe
