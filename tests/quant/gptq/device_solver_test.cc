// The one solve path, one input after the other and in batches.
#include "quant/gptq/device_solver.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/correction.h"
#include "quant/gptq/packing.h"
#include "tests/quant/gptq/emulated_kernels.h"
#include "tests/quant/gptq/synthetic_layer.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

constexpr int64_t kIn = 64;

Hessian Of(const at::Tensor& rows) {
  Hessian sum(rows.size(1));
  sum.Add(rows);
  return sum;
}

struct Solved {
  size_t input;
  std::string name;
  SolveFactor factor;
  std::map<int, QuantizedLinear> widths;
};

class DeviceSolverTest : public ::testing::TestWithParam<bool> {
 protected:
  absl::StatusOr<std::vector<Solved>> Solve(std::vector<SharedInput> inputs, const SolveOptions& options) {
    std::vector<Solved> all;
    RETURN_IF_ERROR(SolveShared(std::move(inputs), options, device_, [&](SolvedLinear solved) {
      all.push_back({solved.input, solved.target.name, solved.factor, std::move(solved.widths)});
      return absl::OkStatus();
    }));
    return all;
  }

  // An input with one linear at 2 and 4 bits, supported by `sample` where it has rows.
  SharedInput Input(const std::string& name, const at::Tensor& own, const at::Tensor& sample, double weight) {
    SharedInput input{.own = {Of(own)}, .linears = {{0, name, layer_.weight, {2, 4}}}};
    if (sample.defined()) input.support = {Of(sample)};
    input.support_weight = weight;
    return input;
  }

  const ComputeDevice device_{.kernels = GetParam() ? EmulatedKernels() : BatchKernels{}};
  const Layer layer_ = MakeLayer(/*out=*/24, kIn, /*tokens=*/400, /*seed=*/3);
  at::Generator generator_ = at::detail::createCPUGenerator(5);
  const at::Tensor many_ = at::randn({500, kIn}, generator_), few_ = many_.slice(0, 0, 3);
  const SolveOptions options_{.group_size = 32, .min_tokens_ratio = 0.0};
};

TEST_P(DeviceSolverTest, SupportsOnlyWhereOwnTokensDetermineTooLittle) {
  std::vector<SharedInput> inputs;
  inputs.push_back(Input("rich", many_, many_, 0.1));
  inputs.push_back(Input("cold", few_, many_, 0.1));
  inputs.push_back(Input("alone", few_, at::Tensor(), 0.1));
  inputs.push_back(Input("none", many_.slice(0, 0, 0), many_, 0.1));
  ASSERT_OK_AND_ASSIGN(const std::vector<Solved> solved, Solve(std::move(inputs), options_));
  ASSERT_EQ(solved.size(), 4u);
  std::vector<std::string> found;
  for (const Solved& one : solved) {
    found.push_back(absl::StrCat(one.input, " ", one.name, " ", one.factor.Method(), " ", one.factor.tokens));
  }
  EXPECT_THAT(found, ::testing::ElementsAre("0 rich gptq 500", "1 cold gptq_shrunk 3", "2 alone gptq 3",
                                            "3 none gptq_shrunk 0"));
  EXPECT_LT(solved[1].factor.effective_rank, 6) << "that of three tokens, as random signs estimate it";
  const at::Tensor expected = at::mm(few_.t(), few_) + 0.1 * at::mm(many_.t(), many_);
  EXPECT_TRUE(at::allclose(solved[1].factor.hessian, expected, 1e-4, 1e-4));
}

// What is handed over is what the parts of the path give when they are put together by hand.
TEST_P(DeviceSolverTest, CorrectsWithTheSupportedSums) {
  const at::Tensor meant = few_ + at::randn({3, kIn}, generator_);
  const at::Tensor meant_sample = many_ + at::randn({500, kIn}, generator_);
  SharedInput input = Input("cold", few_, many_, 0.5);
  input.own.cross = at::mm((meant - few_).t(), few_);
  input.support.cross = at::mm((meant_sample - many_).t(), many_);
  SolveOptions options = options_;
  options.correction = 0.7;
  options.widths = {4};
  const at::Tensor hessian = at::mm(few_.t(), few_) + 0.5 * at::mm(many_.t(), many_);
  const at::Tensor cross = input.own.cross + 0.5 * input.support.cross;
  ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(hessian, 503, options));
  const at::Tensor target = CorrectedWeight(layer_.weight, cross, factor, 0.7);
  EXPECT_GT((target - layer_.weight).norm().item<float>(), 0.05 * layer_.weight.norm().item<float>());
  ASSERT_OK_AND_ASSIGN(const auto wanted, quantmoe::Solve(target, factor, options));
  std::vector<SharedInput> inputs;
  inputs.push_back(std::move(input));
  inputs[0].linears[0].widths = {4};
  ASSERT_OK_AND_ASSIGN(const std::vector<Solved> solved, Solve(std::move(inputs), options));
  const at::Tensor same = solved.at(0).widths.at(4).codes == wanted.at(4).codes;
  EXPECT_GT(same.to(at::kDouble).mean().item<double>(), 0.98);
}

TEST_P(DeviceSolverTest, EveryLinearHasItsOwnWidths) {
  std::vector<SharedInput> inputs;
  for (const int width : {3, 4}) {
    SharedInput& input = inputs.emplace_back(Input("gate", many_, at::Tensor(), 0));
    input.linears[0].widths = {2};
    input.linears.push_back({1, "up", layer_.weight * 0.5, {width, 8}});
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<Solved> solved, Solve(std::move(inputs), options_));
  std::vector<std::string> found;
  for (const Solved& one : solved) {
    for (const auto& [width, linear] : one.widths) {
      found.push_back(absl::StrCat(one.input, " ", one.name, " ", width));
      const at::Tensor weight = layer_.weight * (one.name == "up" ? 0.5 : 1.0);
      const at::Tensor error = weight - Dequantize(linear.codes, linear.scales, width, 32);
      EXPECT_NEAR(linear.distortion, Distortion(error, one.factor.hessian), 0.01 * linear.distortion);
    }
  }
  EXPECT_THAT(found, ::testing::ElementsAre("0 gate 2", "0 up 3", "0 up 8", "1 gate 2", "1 up 4", "1 up 8"));
}

TEST_P(DeviceSolverTest, ErrorsNameTheLinear) {
  const auto error = [&](SharedInput input) {
    std::vector<SharedInput> inputs;
    inputs.push_back(std::move(input));
    return Solve(std::move(inputs), options_).status();
  };
  SharedInput broken = Input("layers.3.up", many_, at::Tensor(), 0);
  broken.linears[0].weight = layer_.weight * NAN;
  EXPECT_THAT(error(std::move(broken)),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("layers.3.up")));
  EXPECT_THAT(error(Input("layers.3.up", many_ * NAN, at::Tensor(), 0)),
              StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr("layers.3.up")));
}

TEST_P(DeviceSolverTest, TheFirstErrorOfTheCallerEndsIt) {
  std::vector<SharedInput> inputs;
  inputs.push_back(Input("a", many_, at::Tensor(), 0));
  inputs.push_back(Input("b", many_, at::Tensor(), 0));
  int calls = 0;
  const absl::Status status = SolveShared(std::move(inputs), options_, device_, [&](const SolvedLinear&) {
    ++calls;
    return absl::AbortedError("enough");
  });
  EXPECT_EQ(status, absl::AbortedError("enough"));
  EXPECT_EQ(calls, 1);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceSolverTest, ::testing::Bool(),
                         [](const auto& device) { return device.param ? "InBatches" : "OneByOne"; });

}  // namespace
}  // namespace quantmoe
