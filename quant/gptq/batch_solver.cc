#include "quant/gptq/batch_solver.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/damping.h"
#include "quant/gptq/effective_rank.h"
#include "quant/gptq/packing.h"

namespace quantmoe {
namespace {

constexpr int64_t kBlockColumns = QUANTMOE_BLOCK_COLUMNS;
constexpr int64_t kSweepColumns = 512;  // columns that one large product prepares
static_assert(kSweepColumns % kBlockColumns == 0);

int32_t KernelScaleRule(ScaleRule rule, int bits) {
  if (rule == ScaleRule::kRange) return QUANTMOE_SCALES_RANGE;
  return AllowsNegative(rule, bits) ? QUANTMOE_SCALES_SIGNED : QUANTMOE_SCALES_POSITIVE;
}

absl::Status InvalidInput(absl::string_view text) {
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", text);
}

// The work queue of the device that holds `tensor`; null for memory of the host.
void* StreamOf(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return nullptr;
  const c10::impl::VirtualGuardImpl guard(tensor.device().type());
  return guard.getStream(tensor.device()).native_handle();
}

void CheckKernel(int error, const BatchKernels& kernels, const char* name) {
  if (error == 0) return;
  throw c10::AcceleratorError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, error,
                              absl::StrCat("the kernel ", name, " failed: ", kernels.error_text(error)));
}

// Factors of all inputs: V in processing order. An input that falls back to rounding has the identity, with
// which no column is compensated.
struct Factors {
  std::vector<SolveFactor> facts;
  at::Tensor hessians;    // [inputs, in, in]
  at::Tensor upper;       // [inputs, in, in] f32
  at::Tensor added;       // [inputs, in] f32
  at::Tensor order;       // [inputs, in] i32
  at::Tensor importance;  // [inputs, in] f32
};

class BatchFactorizer {
 public:
  BatchFactorizer(const std::vector<SharedInput>& inputs, const SolveOptions& options) : options_(options) {
    std::vector<at::Tensor> hessians;
    for (const SharedInput& input : inputs) {
      hessians.push_back(input.hessian);
      factors_.facts.emplace_back().tokens = input.tokens;
    }
    factors_.hessians = at::stack(hessians);
    for (size_t e = 0; e < inputs.size(); ++e) {
      factors_.facts[e].hessian = factors_.hessians[static_cast<int64_t>(e)];
    }
    diagonals_ = factors_.hessians.diagonal(0, 1, 2).clone();
  }

  absl::StatusOr<Factors> Run() {
    RETURN_IF_ERROR(ReadFacts());
    const int64_t in = diagonals_.size(1);
    const at::Tensor mean = at::tensor(means_, at::kFloat).to(diagonals_.device()).unsqueeze(1);
    live_ = at::where(diagonals_ == 0, mean, diagonals_);
    order_ = options_.order == ColumnOrder::kActivation
                 ? at::argsort(live_, /*stable=*/true, /*dim=*/1, /*descending=*/true)
                 : at::arange(in, diagonals_.options().dtype(at::kLong)).expand_as(live_);
    factors_.upper = at::eye(in, diagonals_.options()).expand_as(factors_.hessians).contiguous();
    factors_.added = at::zeros_like(diagonals_);
    ClimbLadder();
    factors_.order = order_.to(at::kInt).contiguous();
    const at::Tensor ranks = EffectiveRanks(factors_.upper, factors_.added).cpu();
    for (size_t e = 0; e < factors_.facts.size(); ++e) {
      if (!factors_.facts[e].fallback.empty()) continue;
      factors_.facts[e].effective_rank = ranks.const_data_ptr<double>()[e];
    }
    factors_.importance = diagonals_.clone();
    for (size_t e = 0; e < factors_.facts.size(); ++e) {
      if (!factors_.facts[e].fallback.empty()) factors_.importance[static_cast<int64_t>(e)].fill_(1);
    }
    return std::move(factors_);
  }

 private:
  // What decides on the host how each input goes on.
  absl::Status ReadFacts() {
    const at::Tensor largest = factors_.hessians.abs().amax({1, 2}).to(at::kDouble);
    const at::Tensor live = (diagonals_ > 0).sum(1).to(at::kDouble);
    const at::Tensor facts =
        at::stack({largest, live, diagonals_.sum(1, /*keepdim=*/false, at::kDouble)}, 1).cpu();
    for (size_t e = 0; e < factors_.facts.size(); ++e) {
      const double* fact = facts.const_data_ptr<double>() + 3 * e;
      if (!std::isfinite(fact[0])) {
        return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                         "the calibration inputs are not finite");
      }
      SolveFactor& factor = factors_.facts[e];
      if (factor.tokens == 0 || fact[1] == 0) {
        factor.fallback = "no_tokens";
      } else if (static_cast<double>(factor.tokens) <
                 options_.min_tokens_ratio * static_cast<double>(diagonals_.size(1))) {
        factor.fallback = "few_tokens";
      } else {
        open_.push_back(static_cast<int64_t>(e));
      }
      means_.push_back(fact[1] == 0 ? 0 : fact[2] / fact[1]);
    }
    return absl::OkStatus();
  }

  void ClimbLadder() {
    for (const double step : kDampLadder) Try(options_.damp * step, /*floor=*/0);
    for (const double floor : kFloorLadder) Try(options_.damp * std::end(kDampLadder)[-1], floor);
    for (const int64_t e : open_) {
      SolveFactor& factor = factors_.facts[static_cast<size_t>(e)];
      factor.fallback = "not_positive_definite";
      factor.floor = 0;
    }
  }

  // Factors what is still open; what succeeds is not open any more.
  void Try(double damp, double floor) {
    if (open_.empty()) return;
    const at::Tensor index = at::tensor(open_, at::kLong).to(diagonals_.device());
    std::vector<double> steps;
    for (const int64_t e : open_) steps.push_back(damp * means_[static_cast<size_t>(e)]);
    const at::Tensor step = at::tensor(steps, at::kDouble).to(diagonals_.device()).unsqueeze(1);
    const at::Tensor order = order_.index_select(0, index);
    at::Tensor live = live_.index_select(0, index);
    if (floor > 0) live = at::maximum(live, live.amax(1, /*keepdim=*/true) * floor);
    const at::Tensor damped = (live.to(at::kDouble) + step).to(at::kFloat).gather(1, order);
    // V is lower triangular when rows and columns are reversed, and that is what ATen factors.
    at::Tensor reversed = Permuted(factors_.hessians.index_select(0, index), order.flip(1));
    reversed.diagonal(0, 1, 2).copy_(damped.flip(1));
    // One after the other: batched factorisations are made for small matrices.
    std::vector<at::Tensor> lower, info;
    for (size_t i = 0; i < open_.size(); ++i) {
      auto [factor, failed] = at::linalg_cholesky_ex(reversed[static_cast<int64_t>(i)]);
      lower.push_back(std::move(factor));
      info.push_back(std::move(failed));
    }
    const at::Tensor added =
        (damped.to(at::kDouble) - diagonals_.index_select(0, index).to(at::kDouble).gather(1, order))
            .to(at::kFloat);
    Keep(lower, added, at::stack(info).cpu(), damp, floor);
  }

  static at::Tensor Permuted(const at::Tensor& matrices, const at::Tensor& order) {
    return matrices.gather(1, order.unsqueeze(2).expand_as(matrices))
        .gather(2, order.unsqueeze(1).expand_as(matrices));
  }

  void Keep(const std::vector<at::Tensor>& lower, const at::Tensor& added, const at::Tensor& info,
            double damp, double floor) {
    std::vector<int64_t> still_open;
    for (size_t i = 0; i < open_.size(); ++i) {
      const int64_t from = static_cast<int64_t>(i), to = open_[i];
      SolveFactor& factor = factors_.facts[static_cast<size_t>(to)];
      factor.damp = damp;
      factor.floor = floor;
      if (info.const_data_ptr<int>()[i] != 0) {
        still_open.push_back(to);
        continue;
      }
      factors_.upper[to].copy_(lower[i].flip({0, 1}));
      factors_.added[to].copy_(added[from]);
    }
    open_ = std::move(still_open);
  }

  const SolveOptions& options_;
  Factors factors_;
  at::Tensor diagonals_;       // [inputs, in]
  at::Tensor live_;            // the same without zeros
  at::Tensor order_;           // [inputs, in] i64
  std::vector<double> means_;  // of the live diagonal
  std::vector<int64_t> open_;  // inputs without a factor
};

// All linears of all inputs while they are solved; outputs of linears with one input are one row.
class BatchSweep {
 public:
  BatchSweep(const Factors& factors, at::Tensor weights, const SolveOptions& options,
             const BatchKernels& kernels)
      : factors_(factors),
        options_(options),
        kernels_(kernels),
        weights_(std::move(weights)),
        matrices_(weights_.size(0)),
        in_(weights_.size(1)),
        out_(weights_.size(2)),
        widths_(static_cast<int64_t>(options.widths.size())),
        scales_(at::empty({matrices_, widths_, in_ / options.group_size, out_}, weights_.options())),
        codes_(at::empty({matrices_, widths_, in_, out_}, weights_.options().dtype(at::kByte))),
        differences_(at::empty({matrices_, in_, widths_ * out_}, weights_.options())),
        distortions_(at::zeros({matrices_, widths_ * out_}, weights_.options().dtype(at::kDouble))),
        gpu_(weights_.device().has_index() ? weights_.device().index() : 0),
        stream_(StreamOf(weights_)) {}

  absl::Status Run() {
    FitGrids();
    for (int64_t begin = 0; begin < in_; begin += kSweepColumns) {
      if (options_.cancelled != nullptr && *options_.cancelled) return absl::CancelledError("cancelled");
      SolveSweep(begin, std::min(begin + kSweepColumns, in_));
    }
    return absl::OkStatus();
  }

  const at::Tensor& scales() const { return scales_; }            // [matrices, widths, groups, out] f32
  const at::Tensor& codes() const { return codes_; }              // [matrices, widths, in, out] u8
  const at::Tensor& distortions() const { return distortions_; }  // [matrices, widths * out] f64

 private:
  void FitGrids() {
    QuantmoeFitGrid grid = {};
    grid.weights = weights_.const_data_ptr<float>();
    grid.importance = factors_.importance.const_data_ptr<float>();
    grid.scales = scales_.data_ptr<float>();
    grid.matrices = matrices_;
    grid.in = in_;
    grid.out = out_;
    grid.widths = static_cast<int32_t>(widths_);
    grid.group_size = options_.group_size;
    for (size_t i = 0; i < options_.widths.size(); ++i) {
      grid.bits[i] = options_.widths[i];
      grid.rules[i] = KernelScaleRule(options_.scales, options_.widths[i]);
    }
    CheckKernel(kernels_.fit_grid(&grid, gpu_, stream_), kernels_, "fit_grid");
  }

  // [matrices, columns, rows]: the transposed part of V.
  at::Tensor Upper(int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) const {
    return factors_.upper.slice(1, row_begin, row_end).slice(2, begin, end).transpose(1, 2);
  }

  void SolveSweep(int64_t begin, int64_t end) {
    at::Tensor products = begin > 0 ? at::bmm(Upper(0, begin, begin, end), differences_.slice(1, 0, begin))
                                    : at::zeros({matrices_, end, widths_ * out_}, weights_.options());
    for (int64_t block = begin; block < end; block += kBlockColumns) {
      const int64_t block_end = std::min(block + kBlockColumns, end);
      at::Tensor product = products.slice(1, block - begin, block_end - begin);
      if (block > begin) {
        product.baddbmm_(Upper(begin, block, block, block_end), differences_.slice(1, begin, block));
      }
      SolveBlock(block, block_end, product);
    }
  }

  void SolveBlock(int64_t begin, int64_t end, const at::Tensor& product) {
    QuantmoeSolveBlock block = {};
    block.upper = factors_.upper.const_data_ptr<float>();
    block.added = factors_.added.const_data_ptr<float>();
    block.order = factors_.order.const_data_ptr<int32_t>();
    block.weights = weights_.const_data_ptr<float>();
    block.scales = scales_.const_data_ptr<float>();
    block.product = product.const_data_ptr<float>();
    block.difference = differences_.data_ptr<float>();
    block.codes = codes_.data_ptr<uint8_t>();
    block.distortion = distortions_.data_ptr<double>();
    block.product_stride = product.stride(0);
    block.matrices = matrices_;
    block.in = in_;
    block.out = out_;
    block.widths = static_cast<int32_t>(widths_);
    block.group_size = options_.group_size;
    block.begin = static_cast<int32_t>(begin);
    block.size = static_cast<int32_t>(end - begin);
    std::copy(options_.widths.begin(), options_.widths.end(), block.bits);
    CheckKernel(kernels_.solve_block(&block, gpu_, stream_), kernels_, "solve_block");
  }

  const Factors& factors_;
  const SolveOptions& options_;
  const BatchKernels& kernels_;
  const at::Tensor weights_;  // [matrices, in, out]
  const int64_t matrices_, in_, out_, widths_;
  at::Tensor scales_, codes_, differences_, distortions_;
  const int gpu_;
  void* const stream_;
};

absl::Status CheckInput(const SharedInput& input, const SharedInput& first, const SolveOptions& options) {
  const int64_t in = input.hessian.dim() == 2 ? input.hessian.size(0) : 0;
  if (input.hessian.dim() != 2 || in != input.hessian.size(1) || in != first.hessian.size(0)) {
    return InvalidInput("the Hessians of a batch must be equally large square matrices");
  }
  if (input.weights.empty() || input.weights.size() != first.weights.size()) {
    return InvalidInput("the inputs of a batch must have equally many linears");
  }
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const at::Tensor& weight = input.weights[i];
    if (weight.dim() != 2 || weight.size(1) != in || !weight.sizes().equals(first.weights[i].sizes())) {
      return InvalidInput(
          absl::StrCat("weight and Hessian do not fit: ", weight.dim() == 2 ? weight.size(1) : 0,
                       " input channels and a ", in, "-wide Hessian"));
    }
    if (weight.numel() == 0) return InvalidInput("the weight matrix is empty");
  }
  if (options.group_size <= 0 || in % options.group_size != 0) {
    return InvalidInput(
        absl::StrCat("group size ", options.group_size, " does not divide ", in, " input channels"));
  }
  return absl::OkStatus();
}

absl::Status CheckWidths(const std::vector<int>& widths) {
  for (const int bits : widths) {
    if (bits < 2 || bits > 8) return InvalidInput(absl::StrCat("width ", bits, " is not between 2 and 8"));
  }
  if (widths.size() > QUANTMOE_MAX_WIDTHS) {
    return InvalidInput(absl::StrCat("at most ", QUANTMOE_MAX_WIDTHS, " widths, not ", widths.size()));
  }
  return absl::OkStatus();
}

// [inputs, in, out]: the linears of an input side by side, transposed.
at::Tensor StackWeights(const std::vector<SharedInput>& inputs) {
  std::vector<at::Tensor> weights;
  for (const SharedInput& input : inputs) weights.push_back(at::cat(input.weights, 0).t());
  return at::stack(weights).contiguous();
}

// The part of the sweep's results that belongs to the linear whose outputs begin at `first`.
QuantizedLinear LinearResult(const BatchSweep& sweep, int64_t input, int64_t width, int64_t first,
                             int64_t out) {
  return {sweep.codes()[input][width].slice(1, first, first + out).contiguous(),
          sweep.scales()[input][width].slice(1, first, first + out).to(at::kHalf), 0};
}

}  // namespace

absl::StatusOr<std::vector<SharedSolution>> SolveBatch(const std::vector<SharedInput>& inputs,
                                                       const SolveOptions& options,
                                                       const BatchKernels& kernels) {
  RETURN_IF_ERROR(CheckWidths(options.widths));
  if (options.order == ColumnOrder::kGroup) {
    return InvalidInput("group-aware order is not solved in batches");
  }
  for (const SharedInput& input : inputs) RETURN_IF_ERROR(CheckInput(input, inputs.front(), options));
  const c10::DeviceGuard guard(inputs.front().hessian.device());
  at::Tensor weights = StackWeights(inputs);
  if (!std::isfinite(weights.abs().max().item<float>())) {
    return InvalidInput("the weights hold NaN or infinite values");
  }
  ASSIGN_OR_RETURN(const Factors factors, BatchFactorizer(inputs, options).Run());
  BatchSweep sweep(factors, std::move(weights), options, kernels);
  RETURN_IF_ERROR(sweep.Run());
  const int64_t widths = static_cast<int64_t>(options.widths.size());
  const at::Tensor distortions = sweep.distortions().view({static_cast<int64_t>(inputs.size()), widths, -1});
  std::vector<at::Tensor> sums;
  for (int64_t first = 0; const at::Tensor& weight : inputs.front().weights) {
    sums.push_back(distortions.slice(2, first, first + weight.size(0)).sum(2));
    first += weight.size(0);
  }
  const at::Tensor totals = at::stack(sums, 1).cpu();  // [inputs, linears, widths]
  std::vector<SharedSolution> solutions;
  for (size_t e = 0; e < inputs.size(); ++e) {
    SharedSolution& solution = solutions.emplace_back(SharedSolution{factors.facts[e], {}});
    for (size_t i = 0, first = 0; i < inputs[e].weights.size(); ++i) {
      const at::Tensor& weight = inputs[e].weights[i];
      std::map<int, QuantizedLinear>& linear = solution.linears.emplace_back();
      for (int64_t w = 0; w < widths; ++w) {
        const int bits = options.widths[static_cast<size_t>(w)];
        QuantizedLinear& result = linear[bits] =
            LinearResult(sweep, static_cast<int64_t>(e), w, static_cast<int64_t>(first), weight.size(0));
        result.distortion = totals[static_cast<int64_t>(e)][static_cast<int64_t>(i)][w].item<double>();
        if (solution.factor.fallback.empty()) continue;
        const at::Tensor error = weight - Dequantize(result.codes, result.scales, bits, options.group_size);
        result.distortion = Distortion(error, solution.factor.hessian);
      }
      first += static_cast<size_t>(weight.size(0));
    }
  }
  return solutions;
}

}  // namespace quantmoe
