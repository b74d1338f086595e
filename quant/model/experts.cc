#include "quant/model/experts.h"

#include <ATen/ATen.h>

#include "base/status_macros.h"

namespace quantmoe {
namespace {

// Tokens that one MLP takes at once; bounds the inner activation.
constexpr int64_t kChunk = 8192;

at::Tensor ForwardInChunks(const GatedMlp& mlp, const at::Tensor& x) {
  if (x.size(0) <= kChunk) return mlp.Forward(x);
  std::vector<at::Tensor> outputs;
  for (const at::Tensor& chunk : x.split(kChunk)) outputs.push_back(mlp.Forward(chunk));
  return at::cat(outputs, 0);
}

absl::Status AddExperts(const ModelSpec& spec, const Part& part, const at::Tensor& x,
                        const Dispatch& dispatch, WeightSource& source, at::Tensor& sum) {
  for (int i = 0; i < part.num_experts; ++i) {
    const int expert = part.first_expert + i;
    if (dispatch.count(expert) == 0) continue;
    const size_t first = static_cast<size_t>(i) * 3;
    ASSIGN_OR_RETURN(const GatedMlp mlp, GatedMlp::Load(spec, part.linears[first], part.linears[first + 1],
                                                        part.linears[first + 2], source));
    const at::Tensor rows = dispatch.Tokens(expert);
    at::Tensor y =
        ForwardInChunks(mlp, x.index_select(0, rows)).to(at::kFloat).mul_(dispatch.Weights(expert));
    sum.index_add_(0, rows, y);
  }
  return absl::OkStatus();
}

absl::Status AddShared(const ModelSpec& spec, const Part& part, const at::Tensor& x, WeightSource& source,
                       at::Tensor& sum) {
  ASSIGN_OR_RETURN(const GatedMlp mlp,
                   GatedMlp::Load(spec, part.linears[0], part.linears[1], part.linears[2], source));
  at::Tensor y = ForwardInChunks(mlp, x);
  if (part.kind == PartKind::kShared) {
    ASSIGN_OR_RETURN(const at::Tensor factor, SharedFactor(spec, part.layer, x, source));
    if (factor.defined()) y = y * factor;
  }
  sum.add_(y);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GatedMlp> GatedMlp::Load(const ModelSpec& spec, const Linear& gate, const Linear& up,
                                        const Linear& down, WeightSource& source) {
  GatedMlp mlp;
  ASSIGN_OR_RETURN(mlp.gate_, LoadLinear(source, gate));
  ASSIGN_OR_RETURN(mlp.up_, LoadLinear(source, up));
  ASSIGN_OR_RETURN(mlp.down_, LoadLinear(source, down));
  if (IsExpert(gate.kind)) {
    mlp.activation_ = spec.moe.activation;
    mlp.limit_ = spec.moe.activation_limit;
  }
  return mlp;
}

GatedMlp GatedMlp::With(size_t which, const at::Tensor& weight) const {
  GatedMlp changed = *this;
  (which == 0 ? changed.gate_ : which == 1 ? changed.up_ : changed.down_).weight = weight;
  return changed;
}

at::Tensor GatedMlp::Inner(const at::Tensor& x) const {
  if (activation_ == Activation::kSilu) return at::silu(Apply(gate_, x)).mul_(Apply(up_, x));
  constexpr double kSlope = 1.702;
  const at::Tensor gate = Apply(gate_, x).clamp_max_(limit_);
  at::Tensor up = Apply(up_, x).clamp_(-limit_, limit_).add_(1);
  return up.mul_(gate * at::sigmoid(gate * kSlope));
}

absl::StatusOr<at::Tensor> SharedFactor(const ModelSpec& spec, int layer, const at::Tensor& x,
                                        WeightSource& source) {
  if (spec.moe.shared != SharedKind::kSigmoidGated) return at::Tensor();
  ASSIGN_OR_RETURN(const at::Tensor gate, source.Other(TensorNames::SharedGate(spec, layer)));
  return at::sigmoid(at::mm(x, gate.t()));
}

absl::StatusOr<at::Tensor> FeedForward(const ModelSpec& spec, int layer, const at::Tensor& x,
                                       const Routing& routing, WeightSource& source) {
  at::Tensor sum = at::zeros({x.size(0), spec.hidden}, at::kFloat);
  const std::vector<Part> parts = CutLayer(spec, layer);
  std::optional<Dispatch> dispatch;
  if (spec.layers[static_cast<size_t>(layer)].moe) dispatch.emplace(routing, spec.moe.experts);
  for (const Part& part : parts) {
    if (part.kind == PartKind::kExperts) RETURN_IF_ERROR(AddExperts(spec, part, x, *dispatch, source, sum));
    if (part.kind == PartKind::kShared || part.kind == PartKind::kDense) {
      RETURN_IF_ERROR(AddShared(spec, part, x, source, sum));
    }
  }
  return sum.to(x.scalar_type());
}

}  // namespace quantmoe
