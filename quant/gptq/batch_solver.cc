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

// The factors of all inputs, which share their memory.
class BatchFactorizer {
 public:
  BatchFactorizer(const std::vector<SummedInput>& inputs, const SolveOptions& options) : options_(options) {
    std::vector<at::Tensor> hessians;
    for (const SummedInput& input : inputs) {
      hessians.push_back(input.hessian);
      factors_.emplace_back().tokens = input.tokens;
    }
    hessians_ = at::stack(hessians);
    diagonals_ = hessians_.diagonal(0, 1, 2).clone();
  }

  absl::StatusOr<std::vector<SolveFactor>> Run() {
    RETURN_IF_ERROR(ReadFacts());
    const at::Tensor mean = at::tensor(means_, at::kFloat).to(diagonals_.device()).unsqueeze(1);
    live_ = at::where(diagonals_ == 0, mean, diagonals_);
    order_ = options_.order == ColumnOrder::kActivation
                 ? at::argsort(live_, /*stable=*/true, /*dim=*/1, /*descending=*/true)
                 : at::arange(diagonals_.size(1), diagonals_.options().dtype(at::kLong)).expand_as(live_);
    // The identity where there is no factor.
    upper_ = at::eye(diagonals_.size(1), diagonals_.options()).expand_as(hessians_).contiguous();
    added_ = at::zeros_like(diagonals_);
    ClimbLadder();
    const at::Tensor ranks = EffectiveRanks(upper_, added_).cpu();
    const at::Tensor added = added_.to(at::kDouble);
    for (size_t e = 0; e < factors_.size(); ++e) {
      const int64_t row = static_cast<int64_t>(e);
      SolveFactor& factor = factors_[e];
      factor.hessian = hessians_[row];
      if (!factor.fallback.empty()) continue;
      factor.order = order_[row];
      factor.upper = upper_[row];
      factor.added = added[row];
      factor.effective_rank = ranks.const_data_ptr<double>()[e];
    }
    return std::move(factors_);
  }

 private:
  // What decides on the host how each input goes on.
  absl::Status ReadFacts() {
    const at::Tensor largest = hessians_.abs().amax({1, 2}).to(at::kDouble);
    const at::Tensor live = (diagonals_ > 0).sum(1).to(at::kDouble);
    const at::Tensor facts =
        at::stack({largest, live, diagonals_.sum(1, /*keepdim=*/false, at::kDouble)}, 1).cpu();
    for (size_t e = 0; e < factors_.size(); ++e) {
      const double* fact = facts.const_data_ptr<double>() + 3 * e;
      if (!std::isfinite(fact[0])) {
        return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                         "the calibration inputs are not finite");
      }
      SolveFactor& factor = factors_[e];
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
      SolveFactor& factor = factors_[static_cast<size_t>(e)];
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
    at::Tensor reversed = Permuted(hessians_.index_select(0, index), order.flip(1));
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
      SolveFactor& factor = factors_[static_cast<size_t>(to)];
      factor.damp = damp;
      factor.floor = floor;
      if (info.const_data_ptr<int>()[i] != 0) {
        still_open.push_back(to);
        continue;
      }
      upper_[to].copy_(lower[i].flip({0, 1}));
      added_[to].copy_(added[from]);
    }
    open_ = std::move(still_open);
  }

  const SolveOptions& options_;
  std::vector<SolveFactor> factors_;
  at::Tensor hessians_;        // [inputs, in, in]
  at::Tensor upper_;           // [inputs, in, in]: V in processing order
  at::Tensor added_;           // [inputs, in] f32
  at::Tensor diagonals_;       // [inputs, in]
  at::Tensor live_;            // the same without zeros
  at::Tensor order_;           // [inputs, in] i64
  std::vector<double> means_;  // of the live diagonal
  std::vector<int64_t> open_;  // inputs without a factor
};

// The factors of all inputs as the kernels read them. An input that falls back to rounding has the identity,
// with which no column is compensated, and channels that all count alike.
struct StackedFactors {
  explicit StackedFactors(const std::vector<FactoredWeights>& inputs) {
    const at::Tensor& first = inputs.front().factor->hessian;
    const int64_t in = first.size(0);
    std::vector<at::Tensor> uppers, adds, orders, diagonals;
    for (const FactoredWeights& input : inputs) {
      const SolveFactor& factor = *input.factor;
      const bool rounds = !factor.fallback.empty();
      uppers.push_back(rounds ? at::eye(in, first.options()) : factor.upper);
      adds.push_back(rounds ? at::zeros({in}, first.options().dtype(at::kDouble)) : factor.added);
      orders.push_back(rounds ? at::arange(in, first.options().dtype(at::kLong)) : factor.order);
      diagonals.push_back(rounds ? at::ones({in}, first.options()) : factor.hessian.diagonal());
    }
    upper = at::stack(uppers);
    added = at::stack(adds).to(at::kFloat);
    order = at::stack(orders).to(at::kInt);
    importance = at::stack(diagonals);
  }

  at::Tensor upper;       // [inputs, in, in] f32
  at::Tensor added;       // [inputs, in] f32
  at::Tensor order;       // [inputs, in] i32
  at::Tensor importance;  // [inputs, in] f32
};

// All linears of all inputs while they are solved; outputs of linears with one input are one row.
class BatchSweep {
 public:
  BatchSweep(const std::vector<FactoredWeights>& inputs, at::Tensor weights, const SolveOptions& options,
             const BatchKernels& kernels)
      : factors_(inputs),
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

  const StackedFactors factors_;
  const SolveOptions& options_;
  const BatchKernels& kernels_;
  const at::Tensor weights_;  // [matrices, in, out]
  const int64_t matrices_, in_, out_, widths_;
  at::Tensor scales_, codes_, differences_, distortions_;
  const int gpu_;
  void* const stream_;
};

absl::Status CheckShape(const SummedInput& input, const SummedInput& first) {
  const at::Tensor& hessian = input.hessian;
  if (hessian.dim() == 2 && hessian.size(0) == hessian.size(1) &&
      hessian.sizes().equals(first.hessian.sizes())) {
    return absl::OkStatus();
  }
  return InvalidInput("the Hessians of a batch must be equally large square matrices");
}

absl::Status CheckWeights(const FactoredWeights& input, const FactoredWeights& first,
                          const SolveOptions& options) {
  const int64_t in = input.factor->hessian.size(0);
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
at::Tensor StackWeights(const std::vector<FactoredWeights>& inputs) {
  std::vector<at::Tensor> weights;
  for (const FactoredWeights& input : inputs) weights.push_back(at::cat(input.weights, 0).t());
  return at::stack(weights).contiguous();
}

// The part of a sweep's results that belongs to one linear of one input.
struct Place {
  int64_t input;
  int64_t first_output, outputs;
};

// [inputs, linears, widths] f64, on the host.
at::Tensor Distortions(const BatchSweep& sweep, const std::vector<FactoredWeights>& inputs, int64_t widths) {
  const at::Tensor outputs = sweep.distortions().view({static_cast<int64_t>(inputs.size()), widths, -1});
  std::vector<at::Tensor> sums;
  for (int64_t first = 0; const at::Tensor& weight : inputs.front().weights) {
    sums.push_back(outputs.slice(2, first, first + weight.size(0)).sum(2));
    first += weight.size(0);
  }
  return at::stack(sums, 1).cpu();
}

QuantizedLinear ResultAt(const BatchSweep& sweep, const Place& place, int64_t width) {
  const int64_t begin = place.first_output, end = begin + place.outputs;
  return {sweep.codes()[place.input][width].slice(1, begin, end).contiguous(),
          sweep.scales()[place.input][width].slice(1, begin, end).to(at::kHalf), 0};
}

// `distortions` [widths]. Those of a linear that was rounded are taken under its Hessian instead.
std::map<int, QuantizedLinear> SolvedWidths(const BatchSweep& sweep, const Place& place,
                                            const at::Tensor& distortions, const at::Tensor& weight,
                                            const SolveFactor& factor, const SolveOptions& options) {
  std::map<int, QuantizedLinear> solved;
  for (size_t w = 0; w < options.widths.size(); ++w) {
    const int bits = options.widths[w];
    QuantizedLinear result = ResultAt(sweep, place, static_cast<int64_t>(w));
    result.distortion = distortions[static_cast<int64_t>(w)].item<double>();
    if (!factor.fallback.empty()) {
      const at::Tensor error = weight - Dequantize(result.codes, result.scales, bits, options.group_size);
      result.distortion = Distortion(error, factor.hessian);
    }
    solved[bits] = std::move(result);
  }
  return solved;
}

}  // namespace

absl::StatusOr<std::vector<SolveFactor>> FactorBatch(const std::vector<SummedInput>& inputs,
                                                     const SolveOptions& options) {
  if (options.order == ColumnOrder::kGroup) {
    return InvalidInput("group-aware order is not solved in batches");
  }
  for (const SummedInput& input : inputs) RETURN_IF_ERROR(CheckShape(input, inputs.front()));
  const c10::DeviceGuard guard(inputs.front().hessian.device());
  return BatchFactorizer(inputs, options).Run();
}

absl::StatusOr<std::vector<SolvedInput>> SolveBatch(const std::vector<FactoredWeights>& inputs,
                                                    const SolveOptions& options,
                                                    const BatchKernels& kernels) {
  RETURN_IF_ERROR(CheckWidths(options.widths));
  for (const FactoredWeights& input : inputs) RETURN_IF_ERROR(CheckWeights(input, inputs.front(), options));
  const c10::DeviceGuard guard(inputs.front().factor->hessian.device());
  at::Tensor weights = StackWeights(inputs);
  if (!std::isfinite(weights.abs().max().item<float>())) {
    return InvalidInput("the weights hold NaN or infinite values");
  }
  BatchSweep sweep(inputs, std::move(weights), options, kernels);
  RETURN_IF_ERROR(sweep.Run());
  const at::Tensor distortions = Distortions(sweep, inputs, static_cast<int64_t>(options.widths.size()));
  std::vector<SolvedInput> solved(inputs.size());
  for (size_t e = 0; e < inputs.size(); ++e) {
    Place place{static_cast<int64_t>(e), 0, 0};
    for (size_t i = 0; i < inputs[e].weights.size(); ++i) {
      const at::Tensor& weight = inputs[e].weights[i];
      place.outputs = weight.size(0);
      solved[e].push_back(SolvedWidths(sweep, place, distortions[place.input][static_cast<int64_t>(i)],
                                       weight, *inputs[e].factor, options));
      place.first_output += place.outputs;
    }
  }
  return solved;
}

}  // namespace quantmoe
