// Parts of experts on a GPU: Hessians and the solve of gate, up and down at 2, 3, 4 and 8 bits, in parameters
// a second. Says so when there is no GPU.
//   cuda_bench [--device cuda:N] [--tokens N]
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <CLI/CLI.hpp>
#include <c10/core/InferenceMode.h>

#include "quant/device/compute_device.h"
#include "quant/device/device_upload.h"
#include "quant/gptq/device_solver.h"
#include "quant/gptq/hessian.h"

namespace quantmoe {
namespace {

constexpr int kRepeats = 3;

// A part as plan/model/linears.h cuts it.
struct PartShape {
  const char* model;
  int experts;
  int64_t hidden, width;
};
constexpr PartShape kParts[] = {
    {"DeepSeek-MoE-16B", 7, 2048, 1408}, {"Qwen3-30B-A3B", 13, 2048, 768}, {"Mixtral-8x7B", 1, 4096, 14336}};

// The best of a few runs, each until the GPU has finished.
double BestSeconds(const ComputeDevice& device, const std::function<void()>& run) {
  double best = HUGE_VAL;
  for (int i = 0; i < kRepeats + 1; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    device.Check().IgnoreError();  // waits for what it computes
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::min(best, seconds);  // the first one loads kernels
  }
  return best;
}

class PartBench {
 public:
  PartBench(const PartShape& shape, int64_t tokens, const ComputeDevice& device)
      : shape_(shape), device_(device) {
    const at::TensorOptions options = at::TensorOptions(device.device).dtype(at::kFloat);
    for (int e = 0; e < shape.experts; ++e) {
      for (int linear = 0; linear < 2; ++linear) {
        outer_.push_back(at::randn({shape.width, shape.hidden}, options) * 0.02);
      }
      down_.push_back(at::randn({shape.hidden, shape.width}, options) * 0.02);
    }
    inputs_ = at::randn({tokens, shape.hidden});
    inner_ = at::randn({tokens, shape.width}, options);
  }

  void Print() {
    const double parameters =
        3.0 * static_cast<double>(shape_.experts) * static_cast<double>(shape_.hidden * shape_.width);
    const double hessian = BestSeconds(device_, [&] { Sum(); });
    const double solve = BestSeconds(device_, [&] { SolveAll(); });
    std::printf(
        "%-18s %2d experts [%5ld, %5ld]  hessians %7.3f s  solve %7.3f s  %7.1f M parameters/s "
        "(solve alone %7.1f)\n",
        shape_.model, shape_.experts, shape_.hidden, shape_.width, hessian, solve,
        parameters / (hessian + solve) / 1e6, parameters / solve / 1e6);
  }

 private:
  // Every expert gets all rows; they come from the host.
  void Sum() {
    const c10::Device device = device_.device;
    DeviceUpload upload(device);
    gate_up_.clear();
    downs_.clear();
    const at::Tensor x = upload(inputs_);
    for (int e = 0; e < shape_.experts; ++e) {
      const size_t at = static_cast<size_t>(e);
      Hessian outer(shape_.hidden, device), inner(shape_.width, device);
      outer.Add(x);
      inner.Add(inner_);
      gate_up_.push_back(Input(outer, {outer_[2 * at], outer_[2 * at + 1]}));
      downs_.push_back(Input(inner, {down_[at]}));
    }
  }

  // The sum is taken here, so that it can be solved more than once.
  static SharedInput Input(Hessian& sum, const std::vector<at::Tensor>& weights) {
    const int64_t tokens = sum.tokens();
    SharedInput input{{Hessian(sum.Take(), tokens)}, {}};
    for (const at::Tensor& weight : weights) {
      input.linears.push_back({input.linears.size(), "linear", weight, SolveOptions().widths});
    }
    return input;
  }

  void SolveAll() {
    for (const std::vector<SharedInput>* inputs : {&gate_up_, &downs_}) {
      const absl::Status status =
          SolveShared(*inputs, {}, device_, [](const SolvedLinear&) { return absl::OkStatus(); });
      if (!status.ok()) std::printf("%s\n", std::string(status.message()).c_str());
    }
  }

  const PartShape shape_;
  const ComputeDevice& device_;
  std::vector<at::Tensor> outer_, down_;
  at::Tensor inputs_, inner_;
  std::vector<SharedInput> gate_up_, downs_;
};

}  // namespace
}  // namespace quantmoe

int main(int argc, char** argv) {
  CLI::App app("Solves parts of experts on a GPU.");
  std::string device = "cuda";
  int64_t tokens = 32768;
  app.add_option("--device", device);
  app.add_option("--tokens", tokens, "rows of every expert's Hessian");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<quantmoe::ComputeDevice> opened = quantmoe::OpenComputeDevice(device);
  if (!opened.ok() || !opened->is_gpu()) {
    std::printf("nothing was measured: %s\n", std::string(opened.status().message()).c_str());
    return 0;
  }
  const c10::InferenceMode inference;
  at::manual_seed(1);
  std::printf("%s, %ld tokens an expert\n", opened->name.c_str(), tokens);
  for (const quantmoe::PartShape& shape : quantmoe::kParts)
    quantmoe::PartBench(shape, tokens, *opened).Print();
  return 0;
}
