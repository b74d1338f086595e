#include "quant/model/router.h"

#include <limits>
#include <utility>

#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "plan/model/linears.h"

namespace quantmoe {
namespace {

// Softmax over all experts, then the best k, optionally scaled to sum 1 (Mixtral, Qwen, OLMoE, DeepSeek-MoE).
Routing SoftmaxTopK(const MoeSpec& moe, const at::Tensor& logits) {
  const at::Tensor scores = at::softmax(logits, -1, at::kFloat);
  auto [weights, experts] = scores.topk(moe.top_k, -1);
  if (moe.renormalize) weights = weights / weights.sum(-1, /*keepdim=*/true);
  return {experts, weights * moe.routed_scale};
}

// Keeps the groups with the best scores; the experts of the others get `fill`. scores [tokens, experts],
// group_scores [tokens, groups].
at::Tensor KeepBestGroups(const MoeSpec& moe, const at::Tensor& scores, const at::Tensor& group_scores,
                          double fill) {
  const at::Tensor best = std::get<1>(group_scores.topk(moe.top_k_groups, -1));
  const at::Tensor dropped = at::ones(group_scores.sizes(), at::kBool).scatter(1, best, false);
  return scores.masked_fill(dropped.repeat_interleave(moe.experts / moe.groups, 1), fill);
}

// DeepSeek-V2 (arXiv 2405.04434, section 2.2.2): a group is as good as its best expert.
Routing GroupLimitedTopK(const MoeSpec& moe, const at::Tensor& logits) {
  at::Tensor scores = at::softmax(logits, -1, at::kFloat);
  if (moe.groups > 1) {
    scores = KeepBestGroups(moe, scores, scores.view({-1, moe.groups, moe.experts / moe.groups}).amax(-1),
                            /*fill=*/0);
  }
  const auto [weights, experts] = scores.topk(moe.top_k, -1);
  return {experts, weights * moe.routed_scale};
}

// DeepSeek-V3 (arXiv 2412.19437, eq. 13-16): the bias takes part in the choice, not in the weights; a group
// is as good as its two best experts.
Routing NoAuxTc(const MoeSpec& moe, const at::Tensor& logits, const at::Tensor& bias) {
  const at::Tensor scores = at::sigmoid(logits);
  at::Tensor choice = scores + bias;
  if (moe.groups > 1) {
    const at::Tensor by_group = choice.view({-1, moe.groups, moe.experts / moe.groups});
    choice = KeepBestGroups(moe, choice, std::get<0>(by_group.topk(2, -1)).sum(-1),
                            /*fill=*/-std::numeric_limits<double>::infinity());
  }
  const at::Tensor experts = std::get<1>(choice.topk(moe.top_k, -1));
  at::Tensor weights = scores.gather(-1, experts);
  if (moe.renormalize) weights = weights / (weights.sum(-1, /*keepdim=*/true) + 1e-20);
  return {experts, weights * moe.routed_scale};
}

// The best k logits, then softmax over these (GPT-OSS, Granite).
Routing TopKSoftmax(const MoeSpec& moe, const at::Tensor& logits) {
  const auto [best, experts] = logits.to(at::kFloat).topk(moe.top_k, -1);
  return {experts, at::softmax(best, -1)};
}

// The best k logits, each through a sigmoid (Llama-4).
Routing TopKSigmoid(const MoeSpec& moe, const at::Tensor& logits) {
  const auto [best, experts] = logits.to(at::kFloat).topk(moe.top_k, -1);
  return {experts, at::sigmoid(best)};
}

// Softmax over all experts; a bias takes part in the choice, not in the weights, which sum to 1 (ERNIE-4.5).
Routing BiasedSoftmax(const MoeSpec& moe, const at::Tensor& logits, const at::Tensor& bias) {
  const at::Tensor scores = at::softmax(logits, -1);
  const at::Tensor choice = bias.defined() ? scores + bias.flatten() : scores;
  const at::Tensor experts = std::get<1>(choice.topk(moe.top_k, -1));
  const at::Tensor weights = scores.gather(-1, experts);
  return {experts, weights / weights.sum(-1, /*keepdim=*/true).clamp_min(moe.least_weight_sum)};
}

// One choice of SparseMixer: the best of `open`, and its softmax among those that come close to it. How close
// is relative to `scores`, also for experts that are no longer open.
std::pair<at::Tensor, at::Tensor> MixOne(const MoeSpec& moe, const at::Tensor& scores,
                                         const at::Tensor& open) {
  const auto [best, expert] = open.max(-1, /*keepdim=*/true);
  const at::Tensor far = (best - scores) / at::maximum(scores.abs(), best) > 2 * moe.jitter;
  const at::Tensor gates = at::softmax(open.masked_fill(far, -std::numeric_limits<float>::infinity()), -1);
  return {expert, gates.gather(-1, expert)};
}

// SparseMixer-v2 at inference (arXiv 2409.12136, section 2.1): two experts whose weights need not sum to 1.
Routing SparseMixer(const MoeSpec& moe, const at::Tensor& logits) {
  const at::Tensor scores = logits.to(at::kFloat);
  const auto [first, first_weight] = MixOne(moe, scores, scores);
  const at::Tensor rest = scores.scatter(-1, first, -std::numeric_limits<float>::infinity());
  const auto [second, second_weight] = MixOne(moe, scores, rest);
  return {at::cat({first, second}, -1), at::cat({first_weight, second_weight}, -1)};
}

}  // namespace

absl::StatusOr<Router> Router::Load(const ModelSpec& spec, int layer, WeightSource& source) {
  Router router;
  router.moe_ = &spec.moe;
  ASSIGN_OR_RETURN(router.router_.weight, source.Tensor(TensorNames::Router(spec, layer)));
  if (spec.moe.router_bias) {
    ASSIGN_OR_RETURN(router.router_.bias, source.Tensor(TensorNames::RouterBias(spec, layer)));
  }
  if (spec.moe.correction_bias) {
    ASSIGN_OR_RETURN(router.correction_bias_, source.Tensor(TensorNames::CorrectionBias(spec, layer)));
    router.correction_bias_ = router.correction_bias_.to(at::kFloat);
  }
  return router;
}

Routing Router::Choose(const at::Tensor& x) const {
  const auto wide_logits = [&] { return at::mm(x.to(at::kFloat), router_.weight.t().to(at::kFloat)); };
  switch (moe_->router) {
    case RouterKind::kDeepSeekV2:
      return GroupLimitedTopK(*moe_, wide_logits());
    case RouterKind::kNoAuxTc:
      return NoAuxTc(*moe_, wide_logits(), correction_bias_);
    case RouterKind::kTopKSoftmax:
      return TopKSoftmax(*moe_, Apply(router_, x));
    case RouterKind::kSparseMixer:
      return SparseMixer(*moe_, Apply(router_, x));
    case RouterKind::kTopKSigmoid:
      return TopKSigmoid(*moe_, Apply(router_, x));
    case RouterKind::kBiasedSoftmax:
      return BiasedSoftmax(*moe_, wide_logits(), correction_bias_);
    default:
      return SoftmaxTopK(*moe_, moe_->router_in_f32 ? wide_logits() : Apply(router_, x));
  }
}

Routing Router::Route(const at::Tensor& x) const {
  const Routing chosen = Choose(x);
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
