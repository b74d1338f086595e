// The solve on a GPU against the CPU and, bit by bit, the kernels against the same code on the host. Skipped
// where there is no GPU, libtorch_cuda.so or libquantmoe_cuda.so.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <ATen/ATen.h>

#include "base/status_macros.h"
#include "quant/device/compute_device.h"
#include "quant/device/device_upload.h"
#include "quant/gptq/device_solver.h"
#include "quant/gptq/hessian.h"
#include "tests/quant/gptq/emulated_kernels.h"
#include "tests/quant/gptq/synthetic_layer.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

struct Input {
  at::Tensor hessian;
  int64_t tokens = 0;
  std::vector<at::Tensor> weights;
};
struct Solution {
  SolveFactor factor;
  std::vector<std::map<int, QuantizedLinear>> linears;
};

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<ComputeDevice> opened = OpenComputeDevice("cuda");
    if (!opened.ok()) GTEST_SKIP() << opened.status().message();
    device_ = *opened;
  }
  at::Tensor ToGpu(const at::Tensor& tensor) { return tensor.to(device_.device); }

  absl::StatusOr<std::vector<Solution>> SolveOnGpu(const std::vector<Input>& inputs,
                                                   const SolveOptions& options) {
    std::vector<SharedInput> shared;
    for (const Input& input : inputs) {
      SharedInput& one = shared.emplace_back(SharedInput{{Hessian(ToGpu(input.hessian), input.tokens)}, {}});
      for (const at::Tensor& weight : input.weights) {
        one.linears.push_back({one.linears.size(), "linear", ToGpu(weight), options.widths});
      }
    }
    std::vector<Solution> solutions(inputs.size());
    RETURN_IF_ERROR(SolveShared(std::move(shared), options, device_, [&](SolvedLinear solved) {
      solutions[solved.input].factor = solved.factor;
      solutions[solved.input].linears.push_back(std::move(solved.widths));
      return absl::OkStatus();
    }));
    return solutions;
  }

  ComputeDevice device_;
};

double ShareEqual(const at::Tensor& a, const at::Tensor& b) {
  return (a.cpu() == b.cpu()).to(at::kDouble).mean().item<double>();
}

std::vector<Input> MakeInputs(int count, int64_t out, int64_t in) {
  std::vector<Input> inputs;
  for (int seed = 0; seed < count; ++seed) {
    const Layer layer = MakeLayer(out, in, 3 * in, static_cast<uint64_t>(seed));
    inputs.push_back({layer.hessian, 3 * in, {layer.weight, layer.weight.flip({1}).contiguous()}});
  }
  return inputs;
}

TEST_F(CudaTest, EqualsTheSolverOfTheCpu) {
  const SolveOptions options{.group_size = 64};
  const std::vector<Input> inputs = MakeInputs(3, 96, 640);
  ASSERT_OK_AND_ASSIGN(const auto solutions, SolveOnGpu(inputs, options));
  for (size_t e = 0; e < inputs.size(); ++e) {
    ASSERT_OK_AND_ASSIGN(const SolveFactor factor, Factor(inputs[e].hessian, inputs[e].tokens, options));
    EXPECT_EQ(solutions[e].factor.damp, factor.damp);
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_OK_AND_ASSIGN(const auto wanted, Solve(inputs[e].weights[i], factor, options));
      for (const auto& [bits, q] : wanted) {
        const QuantizedLinear& found = solutions[e].linears[i].at(bits);
        EXPECT_GT(ShareEqual(found.scales, q.scales), 0.998) << bits << " bits";
        EXPECT_GT(ShareEqual(found.codes, q.codes), bits == 8 ? 0.95 : 0.98) << bits << " bits";
        EXPECT_NEAR(found.distortion, q.distortion, 5e-3 * q.distortion) << bits << " bits";
      }
    }
  }
}

TEST_F(CudaTest, TwoRunsGiveTheSameBits) {
  const SolveOptions options{.group_size = 128};
  const std::vector<Input> inputs = MakeInputs(4, 128, 512);
  ASSERT_OK_AND_ASSIGN(const auto once, SolveOnGpu(inputs, options));
  ASSERT_OK_AND_ASSIGN(const auto again, SolveOnGpu(inputs, options));
  for (size_t e = 0; e < inputs.size(); ++e) {
    for (const auto& [bits, q] : once[e].linears[0]) {
      EXPECT_TRUE(q.codes.equal(again[e].linears[0].at(bits).codes));
      EXPECT_TRUE(q.scales.equal(again[e].linears[0].at(bits).scales));
      EXPECT_EQ(q.distortion, again[e].linears[0].at(bits).distortion);
    }
  }
}

TEST_F(CudaTest, AnInputHasTheSameCodesAloneAndInABatch) {
  const SolveOptions options{.widths = {3}, .group_size = 64};
  const std::vector<Input> inputs = MakeInputs(3, 64, 256);
  ASSERT_OK_AND_ASSIGN(const auto together, SolveOnGpu(inputs, options));
  for (size_t e = 0; e < inputs.size(); ++e) {
    ASSERT_OK_AND_ASSIGN(const auto alone, SolveOnGpu({inputs[e]}, options));
    EXPECT_GT(ShareEqual(together[e].linears[0].at(3).codes, alone[0].linears[0].at(3).codes), 0.98);
  }
}

TEST_F(CudaTest, TheGridKernelHasTheBitsOfTheHost) {
  for (const int group_size : {16, 64, 128, 256, 1024}) {  // tiles of every size, and groups too long for one
    const int64_t in = 1024, out = 200;
    const at::Tensor weights = at::randn({2, in, out}), importance = at::rand({2, in});
    const at::Tensor gpu_weights = ToGpu(weights), gpu_importance = ToGpu(importance);
    at::Tensor wanted = at::empty({2, 3, in / group_size, out}), found = ToGpu(wanted);
    QuantmoeFitGrid grid = {weights.const_data_ptr<float>(),
                            importance.const_data_ptr<float>(),
                            wanted.data_ptr<float>(),
                            2,
                            in,
                            out,
                            3,
                            group_size,
                            {2, 4, 8},
                            {QUANTMOE_SCALES_SIGNED, QUANTMOE_SCALES_POSITIVE, QUANTMOE_SCALES_RANGE}};
    ASSERT_EQ(EmulatedKernels().fit_grid(&grid, 0, nullptr), 0);
    grid.weights = gpu_weights.const_data_ptr<float>();
    grid.importance = gpu_importance.const_data_ptr<float>();
    grid.scales = found.data_ptr<float>();
    ASSERT_EQ(device_.kernels.fit_grid(&grid, device_.device.index(), nullptr), 0);
    EXPECT_TRUE(found.cpu().equal(wanted)) << group_size;
  }
}

TEST_F(CudaTest, TheColumnKernelHasTheBitsOfTheHost) {
  const int64_t in = 320, out = 150, columns = 2 * out;
  for (const int size : {128, 100, 1}) {
    const at::Tensor upper = (at::randn({2, in, in}) * 0.1 + at::eye(in)).triu(), added = at::rand({2, in});
    upper.diagonal(0, 1, 2).abs_().add_(0.5);
    const at::Tensor order = at::stack({at::randperm(in), at::arange(in)}).to(at::kInt);
    const at::Tensor weights = at::randn({2, in, out}), scales = at::rand({2, 2, in / 32, out}) * 0.3;
    const at::Tensor product = at::randn({2, size, columns});
    const at::Tensor difference = at::zeros({2, in, columns}), codes = at::zeros({2, 2, in, out}, at::kByte);
    const at::Tensor distortion = at::zeros({2, columns}, at::kDouble);
    std::vector<at::Tensor> host = {upper,   added,      order, weights,   scales,
                                    product, difference, codes, distortion};
    std::vector<at::Tensor> gpu;
    for (const at::Tensor& tensor : host) gpu.push_back(ToGpu(tensor));
    const auto block = [&](std::vector<at::Tensor>& t) {
      return QuantmoeSolveBlock{t[0].const_data_ptr<float>(),
                                t[1].const_data_ptr<float>(),
                                t[2].const_data_ptr<int32_t>(),
                                t[3].const_data_ptr<float>(),
                                t[4].const_data_ptr<float>(),
                                t[5].const_data_ptr<float>(),
                                t[6].data_ptr<float>(),
                                t[7].data_ptr<uint8_t>(),
                                t[8].data_ptr<double>(),
                                size * columns,
                                2,
                                in,
                                out,
                                2,
                                32,
                                128,
                                size,
                                {2, 4}};
    };
    const QuantmoeSolveBlock on_host = block(host), on_gpu = block(gpu);
    ASSERT_EQ(EmulatedKernels().solve_block(&on_host, 0, nullptr), 0);
    ASSERT_EQ(device_.kernels.solve_block(&on_gpu, device_.device.index(), nullptr), 0);
    for (size_t i = 6; i < host.size(); ++i) EXPECT_TRUE(gpu[i].cpu().equal(host[i])) << i << " of " << size;
  }
}

TEST_F(CudaTest, UploadsAreOrderedBeforeWhatUsesThem) {
  const c10::Device device = device_.device;
  DeviceUpload upload(device);
  Hessian sum(256, device), plain(256);
  for (int round = 0; round < 20; ++round) {
    const at::Tensor x = at::full({4096, 256}, round);
    sum.Add(upload(x));
    plain.Add(x);
    upload.EndRound();
  }
  EXPECT_TRUE(sum.Take().cpu().equal(plain.Take()));
}

}  // namespace
}  // namespace quantmoe
