#include "quant/model/decoder.h"

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/ops/norm.h"

namespace quantmoe {
namespace {

absl::Status LoadNorm(const ModelSpec& spec, const std::string& name, WeightSource& source,
                      at::Tensor& weight, at::Tensor& bias) {
  ASSIGN_OR_RETURN(weight, source.Tensor(name));
  if (spec.norm == NormKind::kLayerNorm) {
    ASSIGN_OR_RETURN(bias, source.Tensor(BiasOf(name)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DecoderLayer> DecoderLayer::Load(const ModelSpec& spec, int layer, WeightSource& source) {
  DecoderLayer loaded;
  loaded.spec_ = &spec;
  RETURN_IF_ERROR(LoadNorm(spec, TensorNames::InputNorm(spec, layer), source, loaded.input_norm_,
                           loaded.input_norm_bias_));
  RETURN_IF_ERROR(LoadNorm(spec, TensorNames::PostAttentionNorm(spec, layer), source, loaded.ffn_norm_,
                           loaded.ffn_norm_bias_));
  ASSIGN_OR_RETURN(loaded.attention_, Attention::Load(spec, layer, source));
  if (spec.layers[static_cast<size_t>(layer)].moe) {
    ASSIGN_OR_RETURN(loaded.router_, Router::Load(spec, layer, source));
  }
  return loaded;
}

at::Tensor DecoderLayer::AttentionInput(const at::Tensor& hidden) const {
  return ModelNorm(*spec_, hidden, input_norm_, input_norm_bias_);
}

AttentionTrace DecoderLayer::RunAttention(const at::Tensor& hidden, const Batches& batches) const {
  AttentionTrace trace = {at::empty_like(hidden), at::empty_like(hidden)};
  int64_t row = 0;
  for (const TokenBatch& piece : CutBatches(batches)) {
    const at::Tensor before = hidden.narrow(0, row, piece.tokens());
    const at::Tensor context = attention_.Context(AttentionInput(before), {piece});
    at::Tensor after = trace.stream.narrow(0, row, piece.tokens());
    at::add_out(after, before, attention_.Project(context), spec_->residual_multiplier);
    trace.ffn_input.narrow(0, row, piece.tokens()).copy_(ModelNorm(*spec_, after, ffn_norm_, ffn_norm_bias_));
    row += piece.tokens();
  }
  return trace;
}

Routing DecoderLayer::Route(const at::Tensor& ffn_input) const {
  return router_.has_value() ? router_->Route(ffn_input) : Routing{};
}

absl::StatusOr<LayerTrace> RunLayer(const ModelSpec& spec, int layer, const at::Tensor& hidden,
                                    const Batches& batches, WeightSource& source) {
  ASSIGN_OR_RETURN(const DecoderLayer loaded, DecoderLayer::Load(spec, layer, source));
  const AttentionTrace attention = loaded.RunAttention(hidden, batches);
  LayerTrace trace;
  trace.ffn_input = attention.ffn_input;
  trace.routing = loaded.Route(trace.ffn_input);
  ASSIGN_OR_RETURN(const at::Tensor ffn, FeedForward(spec, layer, trace.ffn_input, trace.routing, source));
  trace.output = at::add(attention.stream, ffn, spec.residual_multiplier);
  return trace;
}

absl::StatusOr<at::Tensor> Embed(const ModelSpec& spec, const at::Tensor& ids, WeightSource& source) {
  if (ids.numel() > 0 && (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= spec.vocab)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOKEN_OUT_OF_RANGE",
                     absl::StrCat("token ids ", ids.min().item<int64_t>(), "..", ids.max().item<int64_t>(),
                                  " do not fit a vocabulary of ", spec.vocab));
  }
  ASSIGN_OR_RETURN(const at::Tensor table, source.Tensor(TensorNames::Embedding(spec)));
  return table.index_select(0, ids.flatten()) * spec.embedding_multiplier;
}

absl::StatusOr<OutputHead> OutputHead::Load(const ModelSpec& spec, WeightSource& source) {
  OutputHead head;
  head.spec_ = &spec;
  RETURN_IF_ERROR(LoadNorm(spec, TensorNames::FinalNorm(spec), source, head.norm_, head.norm_bias_));
  ASSIGN_OR_RETURN(head.head_.weight, source.Tensor(TensorNames::Head(spec)));
  if (spec.head_bias) {
    ASSIGN_OR_RETURN(head.head_.bias, source.Tensor(TensorNames::HeadBias(spec)));
  }
  return head;
}

at::Tensor OutputHead::Logits(const at::Tensor& hidden) const {
  const at::Tensor logits = Apply(head_, ModelNorm(*spec_, hidden, norm_, norm_bias_));
  return spec_->logits_divisor == 1.0 ? logits : logits / spec_->logits_divisor;
}

}  // namespace quantmoe
