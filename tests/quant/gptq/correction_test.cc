// The correction against its definition, solved in f64 with LAPACK.
#include "quant/gptq/correction.h"

#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "quant/gptq/hessian.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

struct Case {
  at::Tensor weight, original, quantized, cross;
  SolveFactor factor;
};

Case MakeCase(const SolveOptions& options) {
  at::manual_seed(7);
  Case c;
  c.weight = at::randn({24, 64});
  c.original = at::randn({400, 64}) * at::linspace(0.2, 3.0, 64);
  c.quantized = c.original + 0.1 * at::randn({400, 64});
  c.cross = at::mm((c.original - c.quantized).t(), c.quantized);
  Hessian hessian(64);
  hessian.Add(c.quantized);
  c.factor = *Factor(hessian.Take(), 400, options);
  return c;
}

// sum |W x - V x'|^2 over the tokens.
double OutputError(const Case& c, const at::Tensor& weight) {
  return (at::mm(c.original, c.weight.t()) - at::mm(c.quantized, weight.t())).pow(2).sum().item<double>();
}

TEST(CorrectionTest, IsTheDampedLeastSquaresSolution) {
  const c10::InferenceMode inference;
  SolveOptions options;
  options.damp = 0.05;
  const Case c = MakeCase(options);
  const at::Tensor x = c.quantized.to(at::kDouble);
  const at::Tensor hessian = at::mm(x.t(), x);
  const at::Tensor damped = hessian + 0.05 * hessian.diagonal().mean() * at::eye(64, at::kDouble);
  const at::Tensor drift = at::mm(c.weight.to(at::kDouble), c.cross.to(at::kDouble));
  const at::Tensor expected = c.weight.to(at::kDouble) + at::linalg_solve(damped, drift, /*left=*/false);
  const at::Tensor corrected = CorrectedWeight(c.weight, c.cross, c.factor, 1.0);
  EXPECT_LT((corrected.to(at::kDouble) - expected).abs().max().item<double>(), 2e-5);
  const at::Tensor half = CorrectedWeight(c.weight, c.cross, c.factor, 0.5);
  EXPECT_LT((half - (c.weight + corrected) / 2).abs().max().item<double>(), 1e-5);
}

TEST(CorrectionTest, BringsTheOutputsBack) {
  const c10::InferenceMode inference;
  const Case c = MakeCase({});
  const double before = OutputError(c, c.weight);
  EXPECT_LT(OutputError(c, CorrectedWeight(c.weight, c.cross, c.factor, 1.0)), 0.98 * before);
}

TEST(CorrectionTest, WithoutAFactorOrStrengthNothingChanges) {
  const c10::InferenceMode inference;
  Case c = MakeCase({});
  EXPECT_TRUE(CorrectedWeight(c.weight, c.cross, c.factor, 0.0).equal(c.weight));
  c.factor.fallback = "few_tokens";
  EXPECT_TRUE(CorrectedWeight(c.weight, c.cross, c.factor, 1.0).equal(c.weight));
}

}  // namespace
}  // namespace quantmoe
