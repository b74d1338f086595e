#include "quant/model/router.h"

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/linears.h"

namespace quantmoe {
namespace {

// Softmax over all experts, then the best k, optionally scaled to sum 1 (Mixtral, Qwen, OLMoE, DeepSeek-MoE).
Routing SoftmaxTopK(const MoeSpec& moe, const at::Tensor& logits) {
  const at::Tensor scores = at::softmax(logits, -1, at::kFloat);
  auto [weights, experts] = scores.topk(moe.top_k, -1);
  if (moe.renormalize) weights = weights / weights.sum(-1, /*keepdim=*/true);
  return {experts, weights * moe.routed_scale};
}

}  // namespace

absl::StatusOr<Router> Router::Load(const ModelSpec& spec, int layer, WeightSource& source) {
  Router router;
  router.moe_ = &spec.moe;
  ASSIGN_OR_RETURN(router.weight_, source.Other(TensorNames::Router(spec, layer)));
  return router;
}

Routing Router::Route(const at::Tensor& x) const {
  const Routing chosen = SoftmaxTopK(*moe_, at::mm(x, weight_.t()));
  const auto [experts, order] = chosen.experts.sort(-1);
  return {experts, chosen.weights.gather(-1, order)};
}

Dispatch::Dispatch(const Routing& routing, int64_t experts) {
  const at::Tensor flat = routing.experts.flatten();
  const at::Tensor order = at::argsort(flat, /*stable=*/true, /*dim=*/0);
  tokens = at::div(order, routing.experts.size(1), "floor");
  weights = routing.weights.flatten().index_select(0, order);
  const at::Tensor counts = at::bincount(flat, {}, experts);
  offsets.assign(1, 0);
  for (int64_t e = 0; e < experts; ++e)
    offsets.push_back(offsets.back() + counts.const_data_ptr<int64_t>()[e]);
}

at::Tensor Dispatch::Tokens(int64_t expert) const {
  return tokens.narrow(0, offsets[static_cast<size_t>(expert)], count(expert));
}

at::Tensor Dispatch::Weights(int64_t expert) const {
  return weights.narrow(0, offsets[static_cast<size_t>(expert)], count(expert)).unsqueeze(1);
}

}  // namespace quantmoe
