#include "quant/gptq/effective_rank.h"

#include <ATen/ATen.h>

#include "plan/heuristics/split_mix.h"

namespace quantmoe {
namespace {

constexpr int64_t kProbes = 16;

at::Tensor RandomSigns(int64_t in) {
  uint64_t random = static_cast<uint64_t>(in);
  at::Tensor signs = at::empty({in, kProbes}, at::kFloat);
  float* values = signs.data_ptr<float>();
  for (int64_t i = 0; i < signs.numel(); ++i) values[i] = NextSplitMix(random) >> 63 == 0 ? 1.0f : -1.0f;
  return signs;
}

}  // namespace

// tr(H (H + D)^-1) = in - tr(D (H + D)^-1) = in - E |V^-1 D^(1/2) z|^2 over signs z.
at::Tensor EffectiveRanks(const at::Tensor& upper, const at::Tensor& added) {
  const int64_t in = upper.size(-1);
  const at::Tensor root = added.clamp_min(0).sqrt().to(at::kFloat).unsqueeze(-1);
  const at::Tensor solved =
      at::linalg_solve_triangular(upper, RandomSigns(in).to(upper.device()) * root, /*upper=*/true);
  const at::Tensor damped = solved.to(at::kDouble).square().sum(-1).sum(-1) / kProbes;
  return (static_cast<double>(in) - damped).clamp(0.0, static_cast<double>(in));
}

}  // namespace quantmoe
