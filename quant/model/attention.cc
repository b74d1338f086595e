#include "quant/model/attention.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/ops/norm.h"
#include "quant/ops/sink_attention.h"

namespace quantmoe {
namespace {

// Tokens of a run: enough for products of full speed, few enough that what lies between them stays in caches.
constexpr int64_t kRunTokens = 1024;

// True where query i may see key j: j in (i - window, i].
at::Tensor WindowMask(int64_t length, int64_t window) {
  const at::Tensor distance = at::arange(length).unsqueeze(1) - at::arange(length).unsqueeze(0);
  return (distance >= 0).logical_and_(distance < window);
}

// [tokens, heads * dim] -> [sequences, heads, length, dim].
at::Tensor SplitHeads(const at::Tensor& flat, const TokenBatch& batch, int64_t heads) {
  return flat.view({batch.sequences, batch.length, heads, -1}).transpose(1, 2);
}

// Zeros behind the last axis up to `width`. They add nothing to q.k, and the fused kernels want one width for
// all.
at::Tensor Widened(const at::Tensor& x, int64_t width) {
  return x.size(-1) == width ? x : at::constant_pad_nd(x, {0, width - x.size(-1)});
}

}  // namespace

absl::StatusOr<Attention> Attention::Load(const ModelSpec& spec, int layer, WeightSource& source) {
  Attention attention;
  attention.spec_ = &spec;
  attention.layer_ = spec.layers[static_cast<size_t>(layer)];
  const std::vector<Part> parts = CutLayer(spec, layer);
  for (const Linear& linear : parts.front().linears) {
    ASSIGN_OR_RETURN(attention.linears_[linear.kind], LoadLinear(source, linear));
  }
  if (const std::string name = TensorNames::QueryNorm(spec, layer); !name.empty()) {
    ASSIGN_OR_RETURN(attention.query_norm_, source.Tensor(name));
  }
  if (const std::string name = TensorNames::KeyNorm(spec, layer); !name.empty()) {
    ASSIGN_OR_RETURN(attention.key_norm_, source.Tensor(name));
  }
  if (spec.attention.sinks) {
    ASSIGN_OR_RETURN(attention.sinks_, source.Tensor(TensorNames::Sinks(spec, layer)));
  }
  return attention;
}

Attention Attention::With(LinearKind kind, const at::Tensor& weight) const {
  Attention changed = *this;
  changed.linears_.at(kind).weight = weight;
  return changed;
}

at::Tensor Attention::InputOf(LinearKind kind, const at::Tensor& x, const Batches& batches) const {
  switch (AttentionInputOf(kind)) {
    case LinearKind::kOutput:
      return Context(x, batches);
    case LinearKind::kQueryB:
      return QueryLatent(x);
    case LinearKind::kKeyValueB:
      return KeyValueLatent(ApplyTo(LinearKind::kKeyValueA, x));
    default:
      return x;
  }
}

Batches CutBatches(const Batches& batches) {
  Batches pieces;
  for (const TokenBatch& batch : batches) {
    const int64_t step = std::max<int64_t>(1, kRunTokens / std::max<int64_t>(1, batch.length));
    for (int64_t first = 0; first < batch.sequences; first += step) {
      pieces.push_back({std::min(step, batch.sequences - first), batch.length});
    }
  }
  return pieces;
}

at::Tensor Attention::Context(const at::Tensor& x, const Batches& batches) const {
  std::vector<at::Tensor> contexts;
  int64_t row = 0;
  for (const TokenBatch& piece : CutBatches(batches)) {
    // Its own: some scalings depend on the length of the sequence.
    const RopeTable table = MakeRopeTable(spec_->rope, piece.length, x.scalar_type());
    contexts.push_back(BatchContext(x.narrow(0, row, piece.tokens()), piece, table));
    row += piece.tokens();
  }
  return contexts.size() == 1 ? contexts.front() : at::cat(contexts, 0);
}

at::Tensor Attention::NormHeads(const at::Tensor& x, const at::Tensor& weight) const {
  const AttentionSpec& a = spec_->attention;
  if (a.qk_norm == QkNorm::kFullWidth) return RmsNorm(x, weight, a.qk_norm_eps);
  if (a.qk_norm != QkNorm::kPerHead) return x;
  return RmsNorm(x.view({x.size(0), -1, a.head_dim}), weight, a.qk_norm_eps).flatten(1);
}

at::Tensor Attention::Rotated(const at::Tensor& x, const RopeTable& positions, const at::Tensor& norm) const {
  if (!layer_.rope) return x;
  const AttentionSpec& a = spec_->attention;
  const at::Tensor rotated = ApplyRope(spec_->rope, positions, x);
  if (a.qk_norm == QkNorm::kPerHeadAfterRope) return RmsNorm(rotated, norm, a.qk_norm_eps);
  return a.qk_norm == QkNorm::kUnitAfterRope ? UnitNorm(rotated, a.qk_norm_eps) : rotated;
}

// Nakanishi 2025 (arXiv 2501.19399) keeps the softmax over long texts sharp; Llama-4 does it in steps.
at::Tensor Attention::Tempered(const at::Tensor& query) const {
  const AttentionSpec& a = spec_->attention;
  if (layer_.rope || a.temperature_floor == 0) return query;
  const at::Tensor steps = at::floor((at::arange(query.size(2), at::kFloat) + 1) / a.temperature_floor);
  const at::Tensor scales = at::log1p(steps) * a.temperature_scale + 1;
  return query.mul(scales.unsqueeze(1)).to(query.scalar_type());
}

Attention::Heads Attention::GroupedHeads(const at::Tensor& x, const TokenBatch& batch,
                                         const RopeTable& positions) const {
  const AttentionSpec& a = spec_->attention;
  const auto clip = [&a](const at::Tensor& flat) {
    return a.clip_qkv > 0 ? flat.clamp(-a.clip_qkv, a.clip_qkv) : flat;
  };
  const at::Tensor q = clip(NormHeads(ApplyTo(LinearKind::kQuery, x), query_norm_));
  const at::Tensor k = clip(NormHeads(ApplyTo(LinearKind::kKey, x), key_norm_));
  Heads heads = {Tempered(Rotated(SplitHeads(q, batch, a.heads), positions, query_norm_)),
                 Rotated(SplitHeads(k, batch, a.kv_heads), positions, key_norm_),
                 SplitHeads(clip(ApplyTo(LinearKind::kValue, x)), batch, a.kv_heads)};
  if (a.kv_heads != a.heads) {
    heads.key = heads.key.repeat_interleave(a.heads / a.kv_heads, 1);
    heads.value = heads.value.repeat_interleave(a.heads / a.kv_heads, 1);
  }
  return heads;
}

at::Tensor Attention::QueryLatent(const at::Tensor& x) const {
  return RmsNorm(ApplyTo(LinearKind::kQueryA, x), query_norm_, spec_->attention.qk_norm_eps);
}

at::Tensor Attention::KeyValueLatent(const at::Tensor& down) const {
  const AttentionSpec& a = spec_->attention;
  return RmsNorm(down.narrow(1, 0, a.kv_lora), key_norm_, a.qk_norm_eps);
}

// DeepSeek-V2, arXiv 2405.04434, eq. 9-19: each head is [nope | rope], and all heads share one rotary key.
Attention::Heads Attention::LatentHeads(const at::Tensor& x, const TokenBatch& batch,
                                        const RopeTable& positions) const {
  const AttentionSpec& a = spec_->attention;
  const at::Tensor flat =
      a.q_lora > 0 ? ApplyTo(LinearKind::kQueryB, QueryLatent(x)) : ApplyTo(LinearKind::kQuery, x);
  const std::vector<at::Tensor> query =
      SplitHeads(flat, batch, a.heads).split_with_sizes({a.nope_dim, a.rope_dim}, -1);
  const at::Tensor down = ApplyTo(LinearKind::kKeyValueA, x);
  const std::vector<at::Tensor> key_value =
      SplitHeads(ApplyTo(LinearKind::kKeyValueB, KeyValueLatent(down)), batch, a.heads)
          .split_with_sizes({a.nope_dim, a.value_dim}, -1);
  const at::Tensor shared = down.narrow(1, a.kv_lora, a.rope_dim).contiguous();
  const at::Tensor rotary_key = ApplyRope(spec_->rope, positions, SplitHeads(shared, batch, 1))
                                    .expand({batch.sequences, a.heads, batch.length, a.rope_dim});
  return {at::cat({query[0], ApplyRope(spec_->rope, positions, query[1])}, -1),
          at::cat({key_value[0], rotary_key}, -1), key_value[1]};
}

at::Tensor Attention::Attend(const Heads& heads, int64_t first, int64_t count) const {
  const AttentionSpec& a = spec_->attention;
  const int64_t value_width = heads.value.size(-1), width = std::max(a.head_dim, value_width);
  const auto run = [&](const at::Tensor& x) { return Widened(x.narrow(2, first, count), width); };
  std::optional<at::Tensor> mask;
  if (layer_.window > 0 && layer_.window < count) mask = WindowMask(count, layer_.window);
  return at::scaled_dot_product_attention(run(heads.query), run(heads.key), run(heads.value), mask,
                                          /*dropout_p=*/0.0, /*is_causal=*/!mask.has_value(), a.scale)
      .narrow(-1, 0, value_width);
}

Attention::Heads Attention::HeadsOf(const at::Tensor& x, const TokenBatch& batch,
                                    const RopeTable& positions) const {
  return spec_->attention.mla ? LatentHeads(x, batch, positions) : GroupedHeads(x, batch, positions);
}

at::Tensor Attention::AttendAll(const Heads& heads) const {
  const AttentionSpec& a = spec_->attention;
  if (sinks_.defined())
    return AttendWithSinks(heads.query, heads.key, heads.value, sinks_, layer_.window, a.scale);
  const int64_t length = heads.query.size(2), step = layer_.chunk > 0 ? layer_.chunk : length;
  std::vector<at::Tensor> runs;
  for (int64_t first = 0; first < length; first += step)
    runs.push_back(Attend(heads, first, std::min(step, length - first)));
  return runs.size() == 1 ? runs.front() : at::cat(runs, 2);
}

at::Tensor Attention::BatchContext(const at::Tensor& x, const TokenBatch& batch,
                                   const RopeTable& table) const {
  const AttentionSpec& a = spec_->attention;
  return AttendAll(HeadsOf(x, batch, table)).transpose(1, 2).reshape({batch.tokens(), a.heads * a.value_dim});
}

// Values that are the unit vectors make the context the probabilities themselves, whatever the mask.
at::Tensor Attention::Received(const at::Tensor& x) const {
  const int64_t length = x.size(0);
  Heads heads = HeadsOf(x, {1, length}, MakeRopeTable(spec_->rope, length, x.scalar_type()));
  heads.value = at::eye(length, x.options()).expand({1, heads.value.size(1), length, length});
  return AttendAll(heads).squeeze(0).to(at::kFloat).mean(1).mean(0);
}

}  // namespace quantmoe
