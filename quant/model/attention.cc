#include "quant/model/attention.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/model/norm.h"

namespace quantmoe {
namespace {

// Tokens whose scores are held at once; bounds memory for long sequences.
constexpr int64_t kMaxTokens = 16384;

const Linear& Find(const Part& part, LinearKind kind) {
  return *std::find_if(part.linears.begin(), part.linears.end(),
                       [kind](const Linear& l) { return l.kind == kind; });
}

// True where query i may see key j: j in (i - window, i].
at::Tensor WindowMask(int64_t length, int64_t window) {
  const at::Tensor distance = at::arange(length).unsqueeze(1) - at::arange(length).unsqueeze(0);
  return (distance >= 0).logical_and_(distance < window);
}

}  // namespace

absl::StatusOr<Attention> Attention::Load(const ModelSpec& spec, int layer, WeightSource& source) {
  Attention attention;
  attention.spec_ = &spec;
  attention.window_ = spec.layers[static_cast<size_t>(layer)].window;
  const std::vector<Part> parts = CutLayer(spec, layer);
  const Part& part = parts.front();
  ASSIGN_OR_RETURN(attention.query_, LoadLinear(source, Find(part, LinearKind::kQuery)));
  ASSIGN_OR_RETURN(attention.key_, LoadLinear(source, Find(part, LinearKind::kKey)));
  ASSIGN_OR_RETURN(attention.value_, LoadLinear(source, Find(part, LinearKind::kValue)));
  ASSIGN_OR_RETURN(attention.output_, LoadLinear(source, Find(part, LinearKind::kOutput)));
  if (spec.attention.qk_norm != QkNorm::kNone) {
    ASSIGN_OR_RETURN(attention.query_norm_, source.Other(TensorNames::QueryNorm(spec, layer)));
    ASSIGN_OR_RETURN(attention.key_norm_, source.Other(TensorNames::KeyNorm(spec, layer)));
  }
  return attention;
}

Attention Attention::With(LinearKind kind, const at::Tensor& weight) const {
  Attention changed = *this;
  switch (kind) {
    case LinearKind::kQuery:
      changed.query_.weight = weight;
      break;
    case LinearKind::kKey:
      changed.key_.weight = weight;
      break;
    case LinearKind::kValue:
      changed.value_.weight = weight;
      break;
    default:
      changed.output_.weight = weight;
      break;
  }
  return changed;
}

at::Tensor Attention::Context(const at::Tensor& x, const Batches& batches) const {
  int64_t longest = 0;
  for (const TokenBatch& batch : batches) longest = std::max(longest, batch.length);
  const RopeTable table = MakeRopeTable(spec_->rope, longest, x.scalar_type());
  std::vector<at::Tensor> contexts;
  int64_t row = 0;
  for (const TokenBatch& batch : batches) {
    const int64_t step = std::max<int64_t>(1, kMaxTokens / std::max<int64_t>(1, batch.length));
    for (int64_t first = 0; first < batch.sequences; first += step) {
      const TokenBatch piece{std::min(step, batch.sequences - first), batch.length};
      contexts.push_back(BatchContext(x.narrow(0, row, piece.tokens()), piece, table));
      row += piece.tokens();
    }
  }
  return contexts.size() == 1 ? contexts.front() : at::cat(contexts, 0);
}

at::Tensor Attention::BatchContext(const at::Tensor& x, const TokenBatch& batch,
                                   const RopeTable& table) const {
  const AttentionSpec& a = spec_->attention;
  const auto split = [&](const at::Tensor& flat, int64_t heads, int64_t dim) {
    return flat.view({batch.sequences, batch.length, heads, dim}).transpose(1, 2);
  };
  const auto norm = [&](const at::Tensor& flat, const at::Tensor& weight) {
    if (a.qk_norm == QkNorm::kNone) return flat;
    if (a.qk_norm == QkNorm::kFullWidth) return RmsNorm(flat, weight, a.qk_norm_eps);
    return RmsNorm(flat.view({flat.size(0), -1, a.head_dim}), weight, a.qk_norm_eps).flatten(1);
  };
  const RopeTable positions = {table.cos.narrow(0, 0, batch.length), table.sin.narrow(0, 0, batch.length)};
  at::Tensor q =
      ApplyRope(spec_->rope, positions, split(norm(Apply(query_, x), query_norm_), a.heads, a.head_dim));
  at::Tensor k =
      ApplyRope(spec_->rope, positions, split(norm(Apply(key_, x), key_norm_), a.kv_heads, a.head_dim));
  at::Tensor v = split(Apply(value_, x), a.kv_heads, a.value_dim);
  if (a.kv_heads != a.heads) {
    k = k.repeat_interleave(a.heads / a.kv_heads, 1);
    v = v.repeat_interleave(a.heads / a.kv_heads, 1);
  }
  std::optional<at::Tensor> mask;
  if (window_ > 0 && window_ < batch.length) mask = WindowMask(batch.length, window_);
  const at::Tensor context = at::scaled_dot_product_attention(q, k, v, mask, /*dropout_p=*/0.0,
                                                              /*is_causal=*/!mask.has_value(), a.scale);
  return context.transpose(1, 2).reshape({batch.tokens(), a.heads * a.value_dim});
}

}  // namespace quantmoe
