// The number of threads must never show in the bits. Without the reproducible mode that ChooseInstructionSet
// asks of the BLAS, long sums are split over threads and this fails.
#include "gtest/gtest.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "quant/gptq/cholesky.h"
#include "quant/gptq/hessian.h"
#include "quant/gptq/solver.h"
#include "quant/tasks/run_task.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

struct Outcome {
  at::Tensor hessian, factor, codes, attention, product;
  double distortion, effective_rank;
};

Outcome Compute(int threads) {
  SetComputeThreads(threads);
  at::Generator generator = at::detail::createCPUGenerator(3);
  const at::Tensor x = at::randn({4096, 1000}, generator), w = at::randn({300, 1000}, generator);
  Hessian sum(1000);
  sum.Add(x);
  Outcome outcome;
  outcome.hessian = sum.Take();
  outcome.factor = outcome.hessian + at::eye(1000) * 10;
  EXPECT_TRUE(FactorUpper(outcome.factor));
  SolveOptions options{.group_size = 100};
  const auto factor = Factor(outcome.hessian, 4096, options);
  EXPECT_OK(factor.status());
  const auto solved = Solve(w, *factor, options);
  EXPECT_OK(solved.status());
  outcome.factor.triu_();
  outcome.codes = solved->at(3).codes;
  outcome.effective_rank = factor->effective_rank;
  outcome.distortion = solved->at(3).distortion;
  const at::Tensor q = at::randn({4, 4, 200, 32}, generator);
  outcome.attention = at::scaled_dot_product_attention(q, q, q, {}, 0.0, /*is_causal=*/true);
  outcome.product = at::mm(w, x.t());
  return outcome;
}

TEST(ThreadCountTest, DoesNotChangeBits) {
  const Outcome one = Compute(1), two = Compute(2), three = Compute(3);
  for (const Outcome* other : {&two, &three}) {
    EXPECT_TRUE(one.hessian.equal(other->hessian));
    EXPECT_TRUE(one.factor.equal(other->factor));
    EXPECT_TRUE(one.codes.equal(other->codes));
    EXPECT_EQ(one.distortion, other->distortion);
    EXPECT_EQ(one.effective_rank, other->effective_rank);
    EXPECT_TRUE(one.attention.equal(other->attention));
    EXPECT_TRUE(one.product.equal(other->product));
  }
}

}  // namespace
}  // namespace quantmoe
