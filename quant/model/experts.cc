#include "quant/model/experts.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/status_macros.h"

namespace quantmoe {
namespace {

// Tokens that one MLP takes at once: what lies between its products stays in caches.
constexpr int64_t kRunTokens = 1024;

// sum[rows[i]] += weights[i] * y[i]; no row comes twice.
void AddToRows(const at::Tensor& y, const at::Tensor& rows, const at::Tensor& weights, at::Tensor& sum) {
  const at::Tensor wide = y.to(at::kFloat).contiguous(), factors = weights.contiguous();
  const int64_t width = sum.size(1);
  at::parallel_for(0, rows.size(0), /*grain_size=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* __restrict from = wide.const_data_ptr<float>() + i * width;
      float* __restrict to = sum.data_ptr<float>() + rows.const_data_ptr<int64_t>()[i] * width;
      const float factor = factors.const_data_ptr<float>()[i];
      for (int64_t j = 0; j < width; ++j) to[j] += factor * from[j];
    }
  });
}

void Raise(double& peak, const at::Tensor& output) {
  peak = std::max(peak, output.abs().amax().item<double>());
}

absl::Status AddExperts(const ModelSpec& spec, const Part& part, const at::Tensor& x,
                        const Dispatch& dispatch, WeightSource& source, at::Tensor& sum, OutputPeaks* peaks) {
  for (int i = 0; i < part.num_experts; ++i) {
    const int expert = part.first_expert + i;
    if (dispatch.count(expert) == 0) continue;
    const size_t gate = static_cast<size_t>(i) * 3;
    ASSIGN_OR_RETURN(const GatedMlp mlp, GatedMlp::Load(spec, part.linears[gate], part.linears[gate + 1],
                                                        part.linears[gate + 2], source));
    const at::Tensor rows = dispatch.Tokens(expert), weights = dispatch.Weights(expert);
    for (int64_t first = 0; first < rows.size(0); first += kRunTokens) {
      const int64_t count = std::min(kRunTokens, rows.size(0) - first);
      const at::Tensor run = rows.narrow(0, first, count);
      const at::Tensor factors = weights.narrow(0, first, count);
      const at::Tensor input = ExpertInput(spec.moe, x.index_select(0, run), factors);
      const at::Tensor output = mlp.Forward(input);
      if (peaks != nullptr) Raise(peaks->experts[static_cast<size_t>(expert)], output);
      AddToRows(output, run, OutputWeights(spec.moe, factors), sum);
    }
  }
  return absl::OkStatus();
}

absl::Status AddShared(const ModelSpec& spec, const Part& part, const at::Tensor& x, WeightSource& source,
                       at::Tensor& sum, OutputPeaks* peaks) {
  ASSIGN_OR_RETURN(const GatedMlp mlp,
                   GatedMlp::Load(spec, part.linears[0], part.linears[1], part.linears[2], source));
  at::Tensor factor;
  if (part.kind == PartKind::kShared) {
    ASSIGN_OR_RETURN(factor, SharedFactor(spec, part.layer, x, source));
  }
  for (int64_t first = 0; first < x.size(0); first += kRunTokens) {
    const int64_t count = std::min(kRunTokens, x.size(0) - first);
    at::Tensor y = mlp.Forward(x.narrow(0, first, count));
    if (peaks != nullptr) Raise(peaks->mlp, y);
    if (factor.defined()) y.mul_(factor.narrow(0, first, count));
    sum.narrow(0, first, count).add_(y);
  }
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

at::Tensor GatedMlp::Activate(at::Tensor gate, const at::Tensor& up) const {
  if (activation_ == Activation::kSilu) return at::silu_(gate).mul_(up);
  constexpr double kSlope = 1.702;
  gate.clamp_max_(limit_);
  return up.clamp(-limit_, limit_).add_(1).mul_(gate * at::sigmoid(gate * kSlope));
}

at::Tensor GatedMlp::DownChange(const at::Tensor& change) const { return at::mm(change, down_.weight.t()); }

at::Tensor ExpertInput(const MoeSpec& moe, const at::Tensor& rows, const at::Tensor& weights) {
  return moe.scale_input ? rows * weights.to(rows.scalar_type()) : rows;
}

at::Tensor OutputWeights(const MoeSpec& moe, const at::Tensor& weights) {
  return moe.scale_input ? at::ones_like(weights) : weights;
}

absl::StatusOr<at::Tensor> SharedFactor(const ModelSpec& spec, int layer, const at::Tensor& x,
                                        WeightSource& source) {
  if (spec.moe.shared != SharedKind::kSigmoidGated) return at::Tensor();
  ASSIGN_OR_RETURN(const at::Tensor gate, source.Tensor(TensorNames::SharedGate(spec, layer)));
  return at::sigmoid(at::mm(x, gate.t()));
}

absl::StatusOr<at::Tensor> FeedForward(const ModelSpec& spec, int layer, const at::Tensor& x,
                                       const Routing& routing, WeightSource& source, OutputPeaks* peaks) {
  if (peaks != nullptr) peaks->experts.assign(static_cast<size_t>(spec.moe.experts), 0);
  at::Tensor sum = at::zeros({x.size(0), spec.hidden}, at::kFloat);
  const std::vector<Part> parts = CutLayer(spec, layer);
  std::optional<Dispatch> dispatch;
  if (spec.layers[static_cast<size_t>(layer)].moe) dispatch.emplace(routing, spec.moe.experts);
  for (const Part& part : parts) {
    if (part.kind == PartKind::kExperts)
      RETURN_IF_ERROR(AddExperts(spec, part, x, *dispatch, source, sum, peaks));
    if (part.kind == PartKind::kShared || part.kind == PartKind::kDense) {
      RETURN_IF_ERROR(AddShared(spec, part, x, source, sum, peaks));
    }
  }
  return sum.to(x.scalar_type());
}

}  // namespace quantmoe
