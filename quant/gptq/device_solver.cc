#include "quant/gptq/device_solver.h"

#include <utility>

#include <ATen/ATen.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/batch_solver.h"
#include "quant/gptq/correction.h"

namespace quantmoe {
namespace {

// Support is added below this share of determined channels.
constexpr double kEnoughRank = 0.9;

bool NeedsSupport(const SolveFactor& factor) {
  return !factor.fallback.empty() ||
         factor.effective_rank < kEnoughRank * static_cast<double>(factor.hessian.size(0));
}

SolveOptions WithWidths(SolveOptions options, const std::vector<int>& widths) {
  options.widths = widths;
  return options;
}

// The two steps that are done differently on different devices.
class SolveSteps {
 public:
  virtual ~SolveSteps() = default;
  virtual absl::StatusOr<std::vector<SolveFactor>> Factor(const std::vector<SummedInput>& inputs) const = 0;
  // Solves all linears, corrected, with the factors of their inputs.
  virtual absl::Status Quantize(const std::vector<SharedInput>& inputs,
                                const std::vector<SolveFactor>& factors, const SolvedSink& sink) const = 0;
};

// Solver.h on the host, one linear at a time. What comes out goes to the device of the caller.
class HostSteps final : public SolveSteps {
 public:
  HostSteps(const SolveOptions& options, c10::Device device) : options_(options), device_(device) {}

  absl::StatusOr<std::vector<SolveFactor>> Factor(const std::vector<SummedInput>& inputs) const override {
    std::vector<SolveFactor> factors;
    for (const SummedInput& input : inputs) {
      ASSIGN_OR_RETURN(SolveFactor factor, quantmoe::Factor(input.hessian.cpu(), input.tokens, options_));
      factors.push_back(std::move(factor));
    }
    return factors;
  }

  absl::Status Quantize(const std::vector<SharedInput>& inputs, const std::vector<SolveFactor>& factors,
                        const SolvedSink& sink) const override {
    for (size_t i = 0; i < inputs.size(); ++i) {
      SolveFactor shown = factors[i];
      shown.hessian = shown.hessian.to(device_);
      for (const LinearTarget& linear : inputs[i].linears) {
        const at::Tensor weight = CorrectedWeight(linear.weight.cpu(), OnHost(inputs[i].own.cross),
                                                  factors[i], options_.correction);
        absl::StatusOr<std::map<int, QuantizedLinear>> solved =
            Solve(weight, factors[i], WithWidths(options_, linear.widths));
        if (!solved.ok()) return Annotate(solved.status(), linear.name);
        for (auto& [bits, quantized] : *solved) {
          quantized.codes = quantized.codes.to(device_);
          quantized.scales = quantized.scales.to(device_);
        }
        RETURN_IF_ERROR(sink({i, linear, shown, *std::move(solved)}));
      }
    }
    return absl::OkStatus();
  }

 private:
  static at::Tensor OnHost(const at::Tensor& tensor) { return tensor.defined() ? tensor.cpu() : tensor; }

  const SolveOptions& options_;
  const c10::Device device_;
};

// All inputs at once, where the tensors are.
class BatchSteps final : public SolveSteps {
 public:
  BatchSteps(const SolveOptions& options, const BatchKernels& kernels)
      : options_(options), kernels_(kernels) {}

  absl::StatusOr<std::vector<SolveFactor>> Factor(const std::vector<SummedInput>& inputs) const override {
    return FactorBatch(inputs, options_);
  }

  absl::Status Quantize(const std::vector<SharedInput>& inputs, const std::vector<SolveFactor>& factors,
                        const SolvedSink& sink) const override {
    // Linears of one sweep have the same widths, and each input brings the same of them.
    using Sweep = std::pair<std::vector<int>, std::vector<size_t>>;
    std::map<Sweep, std::vector<size_t>> sweeps;
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (auto& [widths, linears] : ByWidths(inputs[i])) sweeps[{widths, linears}].push_back(i);
    }
    std::vector<SolvedInput> solved(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) solved[i].resize(inputs[i].linears.size());
    for (const auto& [sweep, members] : sweeps) {
      const auto& [widths, linears] = sweep;
      std::vector<FactoredWeights> batch;
      for (const size_t i : members) batch.push_back(Weights(inputs[i], factors[i], linears));
      absl::StatusOr<std::vector<SolvedInput>> results =
          SolveBatch(batch, WithWidths(options_, widths), kernels_);
      if (!results.ok()) return Annotate(results.status(), inputs[members[0]].linears[linears[0]].name);
      for (size_t m = 0; m < members.size(); ++m) {
        for (size_t k = 0; k < linears.size(); ++k) {
          solved[members[m]][linears[k]] = std::move((*results)[m][k]);
        }
      }
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (size_t k = 0; k < inputs[i].linears.size(); ++k) {
        RETURN_IF_ERROR(sink({i, inputs[i].linears[k], factors[i], std::move(solved[i][k])}));
      }
    }
    return absl::OkStatus();
  }

 private:
  // Places of the input's linears that are wanted at the same widths.
  static std::map<std::vector<int>, std::vector<size_t>> ByWidths(const SharedInput& input) {
    std::map<std::vector<int>, std::vector<size_t>> places;
    for (size_t k = 0; k < input.linears.size(); ++k) places[input.linears[k].widths].push_back(k);
    return places;
  }

  FactoredWeights Weights(const SharedInput& input, const SolveFactor& factor,
                          const std::vector<size_t>& linears) const {
    FactoredWeights weights{&factor, {}};
    for (const size_t k : linears) {
      weights.weights.push_back(
          CorrectedWeight(input.linears[k].weight, input.own.cross, factor, options_.correction));
    }
    return weights;
  }

  const SolveOptions& options_;
  const BatchKernels& kernels_;
};

// Factors the own sums, and with support those that need it.
absl::StatusOr<std::vector<SolveFactor>> FactorSupported(std::vector<SharedInput>& inputs,
                                                         const SolveSteps& steps) {
  std::vector<SummedInput> own, supported;
  for (SharedInput& input : inputs) {
    const int64_t tokens = input.own.hessian.tokens();
    own.push_back({input.own.hessian.Take(), tokens});
  }
  ASSIGN_OR_RETURN(std::vector<SolveFactor> factors, steps.Factor(own));
  std::vector<size_t> cold;
  std::vector<double> ranks;
  for (size_t i = 0; i < inputs.size(); ++i) {
    SharedInput& input = inputs[i];
    CalibrationSums support = std::exchange(input.support, {Hessian(0)});
    const int64_t sampled = support.hessian.tokens();
    if (sampled == 0 || !NeedsSupport(factors[i])) continue;
    cold.push_back(i);
    ranks.push_back(factors[i].effective_rank);
    factors[i] = {};  // on the CPU its memory is wanted for the next one
    supported.push_back(
        {own[i].hessian.add_(support.hessian.Take(), input.support_weight), own[i].tokens + sampled});
    if (input.own.cross.defined()) input.own.cross.add_(support.cross, input.support_weight);
  }
  if (cold.empty()) return factors;
  ASSIGN_OR_RETURN(std::vector<SolveFactor> again, steps.Factor(supported));
  for (size_t c = 0; c < cold.size(); ++c) {
    SolveFactor& factor = factors[cold[c]] = std::move(again[c]);
    factor.supported = true;
    factor.tokens = own[cold[c]].tokens;
    factor.effective_rank = ranks[c];
  }
  return factors;
}

absl::Status SolveGroup(std::vector<SharedInput> inputs, const SolveSteps& steps, const SolvedSink& sink) {
  absl::StatusOr<std::vector<SolveFactor>> factors = FactorSupported(inputs, steps);
  if (!factors.ok()) return Annotate(factors.status(), inputs.front().linears.front().name);
  return steps.Quantize(inputs, *factors, sink);
}

}  // namespace

bool SolvesTogether(const ComputeDevice& device, const SolveOptions& options) {
  return device.batches() && options.order != ColumnOrder::kGroup;
}

absl::Status SolveShared(std::vector<SharedInput> inputs, const SolveOptions& options,
                         const ComputeDevice& device, const SolvedSink& sink) {
  if (SolvesTogether(device, options)) {
    return SolveGroup(std::move(inputs), BatchSteps(options, device.kernels), sink);
  }
  const HostSteps steps(options, device.device);
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<SharedInput> one;
    one.push_back(std::move(inputs[i]));
    RETURN_IF_ERROR(SolveGroup(std::move(one), steps, [&](SolvedLinear solved) {
      return sink({i, solved.target, solved.factor, std::move(solved.widths)});
    }));
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
