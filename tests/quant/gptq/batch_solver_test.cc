// The batched solver with the GPU kernels emulated on the host; the solver of the CPU is its oracle.
#include "quant/gptq/batch_solver.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/gptq/grid.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/round_to_nearest.h"
#include "tests/quant/gptq/emulated_kernels.h"
#include "tests/quant/gptq/reference_gptq.h"
#include "tests/quant/gptq/synthetic_layer.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;

double ShareEqual(const at::Tensor& a, const at::Tensor& b) {
  return (a == b).to(at::kDouble).mean().item<double>();
}

// A second linear with the same input as `layer`.
at::Tensor OtherWeight(const Layer& layer, int64_t out) {
  return layer.weight.slice(0, 0, out).flip({1}).contiguous() * 1.5;
}

// One input of a batch, and what becomes of it.
struct Input {
  at::Tensor hessian;
  int64_t tokens = 0;
  std::vector<at::Tensor> weights;
};
struct Solution {
  SolveFactor factor;
  SolvedInput linears;
};

absl::StatusOr<std::vector<Solution>> SolveWith(const BatchKernels& kernels, const std::vector<Input>& inputs,
                                                const SolveOptions& options) {
  std::vector<SummedInput> sums;
  for (const Input& input : inputs) sums.push_back({input.hessian, input.tokens});
  ASSIGN_OR_RETURN(const std::vector<SolveFactor> factors, FactorBatch(sums, options));
  std::vector<FactoredWeights> weights;
  for (size_t i = 0; i < inputs.size(); ++i) weights.push_back({&factors[i], inputs[i].weights});
  ASSIGN_OR_RETURN(const std::vector<SolvedInput> solved, SolveBatch(weights, options, kernels));
  std::vector<Solution> solutions;
  for (size_t i = 0; i < inputs.size(); ++i) solutions.push_back({factors[i], solved[i]});
  return solutions;
}

absl::StatusOr<std::vector<Solution>> SolveEmulated(const std::vector<Input>& inputs,
                                                    const SolveOptions& options) {
  return SolveWith(EmulatedKernels(), inputs, options);
}

// How large a distortion is before its terms cancel: those of an indefinite Hessian do, even below zero, and
// then the result is exact only to this.
double Magnitude(const QuantizedLinear& q, const at::Tensor& weight, const at::Tensor& hessian, int bits,
                 int group_size) {
  const at::Tensor error = weight - Dequantize(q.codes, q.scales, bits, group_size);
  return Distortion(error.abs(), hessian.abs());
}

// What one input of a batch must have: what the CPU's solver finds for it alone.
void ExpectSolvedAlone(const Input& input, const Solution& solution, const SolveOptions& options) {
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(input.hessian, input.tokens, options));
  EXPECT_EQ(solution.factor.fallback, factor.fallback);
  EXPECT_EQ(solution.factor.damp, factor.damp);
  EXPECT_EQ(solution.factor.floor, factor.floor);
  EXPECT_EQ(solution.factor.tokens, factor.tokens);
  EXPECT_EQ(solution.factor.upper.defined(), factor.upper.defined());
  EXPECT_EQ(solution.factor.order.defined(), factor.order.defined());
  EXPECT_EQ(solution.factor.added.defined(), factor.added.defined());
  if (factor.upper.defined()) {
    EXPECT_TRUE(solution.factor.order.equal(factor.order));
    EXPECT_TRUE(at::allclose(solution.factor.upper.triu(), factor.upper.triu(), 1e-3,
                             1e-3 * factor.upper.diagonal().max().item<double>()));
    EXPECT_TRUE(
        at::allclose(solution.factor.added, factor.added, 1e-3, 1e-3 * factor.added.max().item<double>()));
  }
  EXPECT_TRUE(solution.factor.hessian.equal(input.hessian));
  ASSERT_EQ(solution.linears.size(), input.weights.size());
  for (size_t i = 0; i < input.weights.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(const auto alone, Solve(input.weights[i], factor, options));
    ASSERT_EQ(solution.linears[i].size(), alone.size());
    for (const auto& [bits, wanted] : alone) {
      const QuantizedLinear& found = solution.linears[i].at(bits);
      EXPECT_GT(ShareEqual(found.scales, wanted.scales), 0.999) << bits << " bits";
      // A value near the middle of two codes may fall to the other side, and what follows with it.
      EXPECT_GT(ShareEqual(found.codes, wanted.codes), bits == 8 ? 0.97 : 0.99) << bits << " bits";
      const double size = wanted.distortion >= 0
                              ? wanted.distortion
                              : Magnitude(wanted, input.weights[i], input.hessian, bits, options.group_size);
      EXPECT_NEAR(found.distortion, wanted.distortion, 2e-3 * size) << bits << " bits";
    }
  }
}

struct Shape {
  int64_t out, in;
  int group_size;
  bool act_order;
  ScaleRule scales = ScaleRule::kAuto;
};

class BatchSolverTest : public ::testing::TestWithParam<Shape> {};

TEST_P(BatchSolverTest, EqualsTheSolverOfTheCpu) {
  const auto [out, in, group_size, act_order, scales] = GetParam();
  const SolveOptions options{.group_size = group_size,
                             .order = act_order ? ColumnOrder::kActivation : ColumnOrder::kNatural,
                             .scales = scales};
  std::vector<Input> inputs;
  for (const uint64_t seed : {1, 2, 3}) {
    const Layer layer = MakeLayer(out, in, 3 * in, seed);
    inputs.push_back({layer.hessian, 3 * in, {layer.weight, OtherWeight(layer, (out + 1) / 2)}});
  }
  ASSERT_OK_AND_ASSIGN(const auto solutions, SolveEmulated(inputs, options));
  ASSERT_EQ(solutions.size(), inputs.size());
  for (size_t e = 0; e < inputs.size(); ++e) ExpectSolvedAlone(inputs[e], solutions[e], options);
}

INSTANTIATE_TEST_SUITE_P(Shapes, BatchSolverTest,
                         ::testing::Values(Shape{48, 192, 32, true}, Shape{48, 192, 64, false},
                                           Shape{48, 192, 64, true, ScaleRule::kSigned},
                                           Shape{33, 128, 128, true, ScaleRule::kRange},
                                           // A sweep of 512 columns and a rest that fills no panel.
                                           Shape{21, 600, 24, true}, Shape{1, 32, 32, true},
                                           Shape{5, 1, 1, false}));

TEST(BatchSolverReferenceTest, EqualsThePaperColumnByColumn) {
  const Layer layer = MakeLayer(/*out=*/40, /*in=*/256, /*tokens=*/700, /*seed=*/4);
  const SolveOptions options{.group_size = 64};
  ASSERT_OK_AND_ASSIGN(const auto solutions, SolveEmulated({{layer.hessian, 700, {layer.weight}}}, options));
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(layer.hessian, 700, options));
  for (const auto& [bits, q] : solutions[0].linears[0]) {
    const at::Tensor ours = Dequantize(q.codes, q.scales, bits, 64);
    const at::Tensor paper =
        ReferenceGptq(layer.weight, layer.hessian, q.scales, bits, 64, options.damp, factor.order);
    const double same =
        at::isclose(ours.to(at::kDouble), paper, 1e-5, 1e-9).to(at::kDouble).mean().item<double>();
    EXPECT_GT(same, bits == 8 ? 0.97 : 0.995) << bits << " bits";
    EXPECT_NEAR(q.distortion / OutputError(layer, ours), 1.0, 2e-3) << bits << " bits";
  }
}

TEST(BatchSolverFallbackTest, EveryInputOfABatchHasItsOwnLadder) {
  const Layer layer = MakeLayer(24, 64, 400, 5);
  at::Tensor indefinite = layer.hessian.clone();
  const double mean = indefinite.diagonal().mean().item<double>();
  indefinite[0][1] = indefinite[1][0] = indefinite[0][0].item<float>() + 0.05 * mean;
  indefinite[1][1] = indefinite[0][0].item<float>();
  at::Tensor floored = at::eye(64);
  floored[0][0] = 1e6f;
  floored[0][1] = floored[1][0] = 2e5f;
  at::Tensor hopeless = at::full({64, 64}, 100.0f);
  hopeless.diagonal().fill_(1.0f);
  at::Tensor dead = layer.hessian.clone();
  dead.select(0, 7).zero_();
  dead.select(1, 7).zero_();
  std::vector<Input> inputs;
  for (const at::Tensor& hessian : {layer.hessian, indefinite, floored, hopeless, dead}) {
    inputs.push_back({hessian, 400, {layer.weight}});
  }
  inputs.push_back({at::zeros({64, 64}), 0, {layer.weight}});
  inputs.push_back({layer.hessian, 3, {layer.weight}});
  const SolveOptions options{.group_size = 32};
  ASSERT_OK_AND_ASSIGN(const auto solutions, SolveEmulated(inputs, options));
  std::vector<std::string> methods;
  for (const Solution& solution : solutions) {
    methods.push_back(solution.factor.Method() + " " + solution.factor.fallback);
  }
  EXPECT_THAT(methods, ::testing::ElementsAre("gptq ", "gptq ", "gptq_floored ", "rtn not_positive_definite",
                                              "gptq ", "rtn no_tokens", "rtn few_tokens"));
  for (size_t e = 0; e < inputs.size(); ++e) {
    SCOPED_TRACE(e);
    ExpectSolvedAlone(inputs[e], solutions[e], options);
  }
}

TEST(BatchSolverOrderTest, AnInputHasTheSameCodesAloneAndInABatch) {
  std::vector<Input> inputs;
  for (const uint64_t seed : {6, 7, 8}) {
    const Layer layer = MakeLayer(30, 160, 500, seed);
    inputs.push_back({layer.hessian, 500, {layer.weight}});
  }
  const SolveOptions options{.widths = {2, 4}, .group_size = 32};
  ASSERT_OK_AND_ASSIGN(const auto together, SolveEmulated(inputs, options));
  ASSERT_OK_AND_ASSIGN(const auto again, SolveEmulated(inputs, options));
  for (size_t e = 0; e < inputs.size(); ++e) {
    ASSERT_OK_AND_ASSIGN(const auto alone, SolveEmulated({inputs[e]}, options));
    for (const int bits : options.widths) {
      const QuantizedLinear& result = together[e].linears[0].at(bits);
      EXPECT_TRUE(result.codes.equal(again[e].linears[0].at(bits).codes));
      EXPECT_EQ(result.distortion, again[e].linears[0].at(bits).distortion);
      EXPECT_GT(ShareEqual(result.codes, alone[0].linears[0].at(bits).codes), 0.99);
    }
  }
}

TEST(BatchSolverInputTest, RefusesWhatDoesNotFit) {
  const Layer layer = MakeLayer(16, 64, 200, 9);
  const Input good{layer.hessian, 200, {layer.weight}};
  const auto refuses = [&](const Input& input, const SolveOptions& options, const char* text) {
    EXPECT_THAT(SolveEmulated({good, input}, options).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  };
  const SolveOptions options{.group_size = 32};
  refuses({at::eye(32), 200, {at::zeros({16, 32})}}, options, "equally large");
  refuses({at::zeros({64, 32}), 200, {layer.weight}}, options, "square");
  refuses({layer.hessian, 200, {}}, options, "equally many linears");
  refuses({layer.hessian, 200, {at::zeros({16, 32})}}, options, "do not fit");
  refuses({layer.hessian, 200, {at::zeros({17, 64})}}, options, "do not fit");
  refuses(good, {.group_size = 48}, "48");
  refuses(good, {.group_size = 32, .order = ColumnOrder::kGroup}, "group-aware");
  refuses(good, {.widths = {9}, .group_size = 32}, "width 9");
  refuses(good, {.widths = {2, 3, 4, 5, 6, 7, 8, 8}, .group_size = 32}, "at most 7 widths");
  at::Tensor broken = layer.weight.clone();
  broken[3][4] = NAN;
  refuses({layer.hessian, 200, {broken}}, options, "NaN");
  EXPECT_THAT(SolveEmulated({good, {at::full({64, 64}, NAN), 200, {layer.weight}}}, options).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not finite")));
  std::atomic<bool> cancelled{true};
  SolveOptions stopped = options;
  stopped.cancelled = &cancelled;
  EXPECT_TRUE(absl::IsCancelled(SolveEmulated({good}, stopped).status()));
}

TEST(BatchSolverInputTest, AFailedKernelIsAnErrorOfTheDevice) {
  const Layer layer = MakeLayer(8, 32, 100, 10);
  BatchKernels kernels = EmulatedKernels();
  kernels.solve_block = [](const QuantmoeSolveBlock*, int, void*) { return 700; };
  EXPECT_THROW(
      SolveWith(kernels, {{layer.hessian, 100, {layer.weight}}}, {.group_size = 32}).status().IgnoreError(),
      c10::AcceleratorError);
}

TEST(FitGridKernelTest, EqualsTheGridOfTheCpu) {
  const int64_t in = 96, out = 70;
  at::Generator generator = at::detail::createCPUGenerator(11);
  at::Tensor weights = at::randn({2, in, out}, generator) * at::exp(at::randn({2, in, 1}, generator));
  weights.select(2, 5).zero_();
  weights.select(2, 6).mul_(1e-6);
  weights.select(2, 7).mul_(1e6);
  const at::Tensor importance = at::rand({2, in}, generator);
  for (const int group_size : {1, 32, 96}) {
    for (const auto& [rule, kernel_rule] : {std::pair{ScaleRule::kRange, QUANTMOE_SCALES_RANGE},
                                            {ScaleRule::kPositive, QUANTMOE_SCALES_POSITIVE},
                                            {ScaleRule::kSigned, QUANTMOE_SCALES_SIGNED}}) {
      QuantmoeFitGrid grid = {weights.const_data_ptr<float>(),
                              importance.const_data_ptr<float>(),
                              nullptr,
                              2,
                              in,
                              out,
                              3,
                              group_size,
                              {2, 4, 8},
                              {kernel_rule, kernel_rule, kernel_rule}};
      at::Tensor found = at::empty({2, 3, in / group_size, out}), wanted = at::empty_like(found);
      grid.scales = found.data_ptr<float>();
      ASSERT_EQ(EmulatedKernels().fit_grid(&grid, 0, nullptr), 0);
      for (int64_t matrix = 0; matrix < 2; ++matrix) {
        for (int64_t width = 0; width < 3; ++width) {
          FitGrid(weights[matrix].const_data_ptr<float>(), importance[matrix].const_data_ptr<float>(), in,
                  out, {grid.bits[width], group_size, rule}, wanted[matrix][width].data_ptr<float>());
        }
      }
      EXPECT_TRUE(at::allclose(found, wanted, rule == ScaleRule::kRange ? 0.0 : 0.3, 0)) << group_size;
      EXPECT_GT(ShareEqual(found, wanted), 0.998) << group_size;
    }
  }
}

}  // namespace
}  // namespace quantmoe
