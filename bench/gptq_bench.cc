// Hessians and GPTQ solves against the machine's own f32 GEMM rate and against a plain column loop, in one
// run. Useful flops: in^2 * tokens for a Hessian (one half of a symmetric product), in^3/3 + out*in^2 for
// each width of a solve. On one thread the clock is the processor's, which a busy machine hardly changes.
//   quantmoe-gptq-bench [--threads N] [--shape OUTxIN ...] [--plain]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <c10/core/InferenceMode.h>

#include "quant/gptq/hessian.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/solver.h"
#include "quant/tasks/run_task.h"

namespace quantmoe {
namespace {

constexpr int kRepeats = 3;

// Of the process where there is one thread, because a busy neighbour hardly changes that; otherwise of the
// wall.
bool processor_time = false;

double Seconds() {
  if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best of a few runs: the machine is shared, and slower runs measure the neighbours.
double Best(const std::function<void()>& run) {
  double best = HUGE_VAL;
  for (int i = 0; i < kRepeats; ++i) {
    const double start = Seconds();
    run();
    best = std::min(best, Seconds() - start);
  }
  return best;
}

// f32 products of 2048^3, GFLOP/s.
double GemmRate() {
  const at::Tensor a = at::randn({2048, 2048}), b = at::randn({2048, 2048});
  at::mm(a, b);
  return 2 * 2048.0 * 2048.0 * 2048.0 / Best([&] { at::mm(a, b); }) / 1e9;
}

at::Tensor MakeHessian(int64_t in) {
  const at::Tensor x = at::randn({in + 512, in}) * at::exp(at::randn({in}) * 0.7);
  Hessian sum(in);
  sum.Add(x);
  return sum.Take();
}

// What tools do that loop over columns in a scripting language: one column at a time, all later columns
// updated.
double PlainColumnLoop(const at::Tensor& weight, const at::Tensor& hessian, int bits, int group_size) {
  const double start = Seconds();
  at::Tensor h = hessian.clone();
  h.diagonal().add_(0.01 * h.diagonal().mean());
  const at::Tensor upper = at::linalg_cholesky(at::cholesky_inverse(at::linalg_cholesky(h)), /*upper=*/true);
  at::Tensor w = weight.clone();
  const double half = 1 << (bits - 1);
  at::Tensor scale;
  for (int64_t block = 0; block < w.size(1); block += 128) {
    const int64_t end = std::min<int64_t>(block + 128, w.size(1));
    at::Tensor errors = at::empty({w.size(0), end - block});
    for (int64_t j = block; j < end; ++j) {
      if (j % group_size == 0) scale = w.slice(1, j, j + group_size).abs().amax(1) / (half - 0.5);
      const at::Tensor column = w.select(1, j);
      const at::Tensor q = (column / scale).round().clamp(-half, half - 1) * scale;
      const at::Tensor error = (column - q) / upper[j][j];
      w.slice(1, j, end).sub_(at::outer(error, upper[j].slice(0, j, end)));
      errors.select(1, j - block).copy_(error);
    }
    if (end < w.size(1))
      w.slice(1, end, w.size(1)).addmm_(errors, upper.slice(0, block, end).slice(1, end, w.size(1)), 1, -1);
  }
  return Seconds() - start;
}

void BenchHessian(int64_t in, double gemm) {
  const at::Tensor x = at::randn({4096, in});
  const double seconds = Best([&] {
    Hessian sum(in);
    sum.Add(x);
  });
  const double rate = 4096.0 * static_cast<double>(in * in) / seconds / 1e9;
  std::printf("hessian        in %5ld          %8.3f s  %6.0f GFLOP/s useful  %5.1f %% of GEMM\n", in,
              seconds, rate, 100 * rate / gemm);
}

void BenchSolve(int64_t out, int64_t in, double gemm, bool plain) {
  const at::Tensor weight = at::randn({out, in}) * 0.02, hessian = MakeHessian(in);
  double one_width = 0;
  for (const std::vector<int>& widths : {std::vector<int>{4}, std::vector<int>{2, 3, 4, 8}}) {
    SolveOptions options;
    options.widths = widths;
    double factor_seconds = HUGE_VAL;
    const double seconds = Best([&] {
      const double start = Seconds();
      const SolveFactor factor = Factor(hessian, in, options).value();
      factor_seconds = std::min(factor_seconds, Seconds() - start);
      Solve(weight, factor, options).value();
    });
    if (widths.size() == 1) one_width = seconds;
    const double i = static_cast<double>(in);
    const double rate =
        (i * i * i / 3 + static_cast<double>(widths.size()) * static_cast<double>(out) * i * i) / seconds /
        1e9;
    std::printf(
        "solve %zu width%s [%5ld, %5ld]  %8.3f s  %6.0f GFLOP/s useful  %5.1f %% of GEMM  (factor %.3f s)\n",
        widths.size(), widths.size() == 1 ? " " : "s", out, in, seconds, rate, 100 * rate / gemm,
        factor_seconds);
  }
  if (!plain) return;
  const double seconds = PlainColumnLoop(weight, hessian, 4, 128);
  std::printf(
      "plain column loop, 1 width      %8.3f s  ours is %.1f times as fast (with scale search and "
      "act-order)\n",
      seconds, seconds / one_width);
}

}  // namespace
}  // namespace quantmoe

int main(int argc, char** argv) {
  CLI::App app("Hessian and GPTQ solve rates.");
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::vector<std::string> shapes = {"1408x2048", "4096x4096", "14336x4096"};
  bool plain = false;
  app.add_option("--threads", threads);
  app.add_option("--shape", shapes, "OUTxIN");
  app.add_flag("--plain", plain, "also time a plain column loop");
  CLI11_PARSE(app, argc, argv);
  quantmoe::SetComputeThreads(threads);
  quantmoe::processor_time = threads == 1;
  const c10::InferenceMode inference;
  at::manual_seed(1);
  const double gemm = quantmoe::GemmRate();
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::printf("machine: f32 GEMM 2048^3 %.0f GFLOP/s on %d threads, seconds of the %s\n", gemm, threads,
              threads == 1 ? "processor" : "wall");
  for (const std::string& shape : shapes) {
    const size_t cross = shape.find('x');
    const int64_t out = std::stol(shape.substr(0, cross)), in = std::stol(shape.substr(cross + 1));
    quantmoe::BenchHessian(in, gemm);
    quantmoe::BenchSolve(out, in, gemm, plain);
  }
  return 0;
}
