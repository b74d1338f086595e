#include "quant/gptq/solver.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/cholesky.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/simd.h"

namespace quantmoe {
namespace {

constexpr int kBlock = 128;             // columns that one GEMM prepares
constexpr int kLanes = 64;              // outputs that are solved together in cache
constexpr int64_t kTileColumns = 8192;  // outputs times widths of one tile: bounds the memory of a solve
constexpr float kRound = 12582912.0f;
constexpr double kDampLadder[] = {1, 3, 10, 30, 100};

std::vector<int64_t> ProcessingOrder(const at::Tensor& diagonal, bool act_order) {
  std::vector<int64_t> order(static_cast<size_t>(diagonal.size(0)));
  std::iota(order.begin(), order.end(), 0);
  if (!act_order) return order;
  const float* d = diagonal.const_data_ptr<float>();
  std::stable_sort(order.begin(), order.end(), [d](int64_t a, int64_t b) { return d[a] > d[b]; });
  return order;
}

// The columns of one block for kLanes outputs of one width. Inputs and outputs are in processing order.
struct BlockColumns {
  const float* target;  // [size, stride]: compensated by everything before the block
  float* difference;    // [size, stride] out: weight - quantized
  int64_t stride;
  const float* weight;  // [size, weight_stride]: original
  int64_t weight_stride;
  const float* upper;  // V[block, block] / V[i,i], row stride `upper_stride`
  int64_t upper_stride;
  const float* const* scales;  // per column: `lanes` scales of its group
  uint8_t* const* codes;       // per column: `lanes` codes out
  const double* added;         // what the factored diagonal has more than the Hessian's
  const double* pivots;        // V[i,i] of each column
  int size;
  int lanes;  // at most kLanes
  int bits;
};

// What a run of columns adds to the distortion.
struct Errors {
  double damped = 0;  // sum ((c - q) V[i,i])^2 = tr(D (H + diag(added)) D^T)
  double added = 0;   // tr(D diag(added) D^T)
};

// Column after column: c = target + sum over k of (w_k - q_k) V[k,i]/V[i,i]; q = round(c).
QUANTMOE_SIMD Errors SolveColumns(const BlockColumns& b) {
  alignas(64) float d[kBlock * kLanes];
  const float low = -static_cast<float>(1 << (b.bits - 1)), high = -low - 1.0f;
  Errors total;
  for (int i = 0; i < b.size; ++i) {
    alignas(64) float c[kLanes] = {};
    alignas(64) float s[kLanes] = {};
    alignas(64) float w[kLanes] = {};
    alignas(64) float error[kLanes];
    std::copy_n(b.target + i * b.stride, b.lanes, c);
    std::copy_n(b.weight + i * b.weight_stride, b.lanes, w);
    std::copy_n(b.scales[i], b.lanes, s);
    for (int k = 0; k < i; ++k) {
      const float v = b.upper[k * b.upper_stride + i];
      const float* dk = d + k * kLanes;
      for (int l = 0; l < kLanes; ++l) c[l] += v * dk[l];
    }
    float* di = d + i * kLanes;
    alignas(64) int32_t code[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const float inverse = s[l] != 0.0f ? 1.0f / s[l] : 0.0f;
      float q = (c[l] * inverse + kRound) - kRound;
      q = q < low ? low : q;
      q = q > high ? high : q;
      code[l] = static_cast<int32_t>(q - low);
      error[l] = c[l] - q * s[l];
      di[l] = w[l] - q * s[l];
    }
    float damped = 0, square = 0;
    for (int l = 0; l < b.lanes; ++l) {
      b.codes[i][l] = static_cast<uint8_t>(code[l]);
      damped += error[l] * error[l];
      square += di[l] * di[l];
    }
    std::copy_n(di, b.lanes, b.difference + i * b.stride);
    total.damped += static_cast<double>(damped) * b.pivots[i] * b.pivots[i];
    total.added += static_cast<double>(square) * b.added[i];
  }
  return total;
}

// A linear while it is solved: the transposed weights in processing order, the grids, and what is found.
struct Problem {
  const SolveFactor& factor;
  const SolveOptions& options;
  at::Tensor weight;               // [in, out] f32, rows in processing order
  std::vector<at::Tensor> scales;  // per width: [groups, out] f32
  std::map<int, QuantizedLinear>& results;
};

// One run of outputs at all widths; differences are [in, widths * outputs].
class TileSolver {
 public:
  TileSolver(Problem& problem, int64_t first_output, int64_t outputs)
      : p_(problem),
        first_(first_output),
        outputs_(outputs),
        widths_(static_cast<int64_t>(problem.options.widths.size())),
        weight_(problem.weight.slice(1, first_output, first_output + outputs)),
        differences_(at::empty({problem.weight.size(0), outputs * widths_}, at::kFloat)) {}

  absl::Status Run() {
    const int64_t in = weight_.size(0);
    for (int64_t begin = 0; begin < in; begin += kBlock) {
      if (p_.options.cancelled != nullptr && *p_.options.cancelled) return absl::CancelledError("cancelled");
      SolveBlock(begin, std::min<int64_t>(begin + kBlock, in));
    }
    return absl::OkStatus();
  }

 private:
  void SolveBlock(int64_t begin, int64_t end) {
    at::Tensor target = weight_.slice(0, begin, end).repeat({1, widths_});
    if (begin > 0) {
      target.addmm_(p_.factor.upper.slice(0, 0, begin).slice(1, begin, end).t(),
                    differences_.slice(0, 0, begin));
    }
    const int64_t runs = (outputs_ + kLanes - 1) / kLanes;
    std::vector<Errors> errors(static_cast<size_t>(widths_ * runs));
    at::parallel_for(0, widths_ * runs, 1, [&](int64_t from, int64_t to) {
      for (int64_t job = from; job < to; ++job) {
        errors[static_cast<size_t>(job)] = SolveRun(target, begin, end, job / runs, job % runs * kLanes);
      }
    });
    for (int64_t job = 0; job < widths_ * runs; ++job) {
      const Errors& e = errors[static_cast<size_t>(job)];
      p_.results.at(p_.options.widths[static_cast<size_t>(job / runs)]).distortion += e.damped - e.added;
    }
  }

  Errors SolveRun(const at::Tensor& target, int64_t begin, int64_t end, int64_t width, int64_t output) {
    const at::Tensor& scales = p_.scales[static_cast<size_t>(width)];
    const int64_t in = weight_.size(0), out = scales.size(1), stride = differences_.size(1);
    const int bits = p_.options.widths[static_cast<size_t>(width)];
    uint8_t* codes = p_.results.at(bits).codes.data_ptr<uint8_t>();
    const float* scale_rows[kBlock];
    uint8_t* code_rows[kBlock];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = p_.factor.order[static_cast<size_t>(i)];
      const int64_t group = channel / p_.options.group_size;
      scale_rows[i - begin] = scales.const_data_ptr<float>() + group * out + first_ + output;
      code_rows[i - begin] = codes + channel * out + first_ + output;
    }
    const BlockColumns block = {
        .target = target.const_data_ptr<float>() + width * outputs_ + output,
        .difference = differences_.data_ptr<float>() + begin * stride + width * outputs_ + output,
        .stride = stride,
        .weight = weight_.const_data_ptr<float>() + begin * weight_.stride(0) + output,
        .weight_stride = weight_.stride(0),
        .upper = p_.factor.upper.const_data_ptr<float>() + begin * in + begin,
        .upper_stride = in,
        .scales = scale_rows,
        .codes = code_rows,
        .added = p_.factor.added.const_data_ptr<double>() + begin,
        .pivots = p_.factor.pivots.const_data_ptr<double>() + begin,
        .size = static_cast<int>(end - begin),
        .lanes = static_cast<int>(std::min<int64_t>(kLanes, outputs_ - output)),
        .bits = bits,
    };
    return SolveColumns(block);
  }

  Problem& p_;
  const int64_t first_, outputs_, widths_;
  const at::Tensor weight_;  // [in, outputs], a view
  at::Tensor differences_;
};

absl::Status CheckShapes(const at::Tensor& weight, const SolveFactor& factor, const SolveOptions& options) {
  const auto invalid = [](auto&&... text) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", absl::StrCat(text...));
  };
  if (weight.dim() != 2 || factor.hessian.size(0) != weight.size(1)) {
    return invalid("weight and Hessian do not fit: ", weight.dim() == 2 ? weight.size(1) : 0,
                   " input channels and a ", factor.hessian.size(0), "-wide Hessian");
  }
  if (options.group_size <= 0 || weight.size(1) % options.group_size != 0) {
    return invalid("group size ", options.group_size, " does not divide ", weight.size(1), " input channels");
  }
  for (const int bits : options.widths) {
    if (bits < 2 || bits > 8) return invalid("width ", bits, " is not between 2 and 8");
  }
  if (!at::isfinite(weight).all().item<bool>()) return invalid("the weights hold NaN or infinite values");
  return absl::OkStatus();
}

// Rounds to nearest; the distortion is taken under the Hessian where there is one.
std::map<int, QuantizedLinear> SolveByRounding(const at::Tensor& weight, const SolveFactor& factor,
                                               const SolveOptions& options) {
  std::map<int, QuantizedLinear> results;
  for (const int bits : options.widths) {
    QuantizedLinear rounded = RoundToNearest(weight, {bits, options.group_size, options.scale_search});
    const at::Tensor error = weight - Dequantize(rounded.codes, rounded.scales, bits, options.group_size);
    rounded.distortion = Distortion(error, factor.hessian);
    results.emplace(bits, std::move(rounded));
  }
  return results;
}

}  // namespace

absl::StatusOr<SolveFactor> Factor(at::Tensor hessian, int64_t tokens, const SolveOptions& options) {
  SolveFactor factor;
  factor.tokens = tokens;
  factor.hessian = std::move(hessian);
  const int64_t in = factor.hessian.size(0);
  at::Tensor diagonal = factor.hessian.diagonal().clone();
  if (!at::isfinite(diagonal).all().item<bool>()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                     "the calibration inputs are not finite");
  }
  const double live = (diagonal > 0).sum().item<double>();
  if (tokens == 0 || live == 0) {
    factor.fallback = "no_tokens";
    return factor;
  }
  if (static_cast<double>(tokens) < options.min_tokens_ratio * static_cast<double>(in)) {
    factor.fallback = "few_tokens";
    return factor;
  }
  const double mean = diagonal.sum(at::kDouble).item<double>() / live;
  // A channel that was never active keeps its weight, rounded: it gets the mean, and nothing is compensated
  // through it.
  diagonal.masked_fill_(diagonal == 0, mean);
  factor.order = ProcessingOrder(diagonal, options.act_order);
  const at::Tensor index = at::tensor(factor.order, at::kLong);
  for (const double step : kDampLadder) {
    factor.damp = options.damp * step;
    factor.upper = factor.hessian.index_select(0, index).index_select(1, index);
    factor.upper.diagonal().copy_(diagonal.index_select(0, index) + factor.damp * mean);
    factor.added =
        (factor.upper.diagonal() - factor.hessian.diagonal().index_select(0, index)).to(at::kDouble);
    if (!FactorUpper(factor.upper)) continue;
    factor.pivots = factor.upper.diagonal().to(at::kDouble);
    factor.upper.div_(factor.upper.diagonal().clone());
    return factor;
  }
  factor.fallback = "not_positive_definite";
  factor.upper = at::Tensor();
  return factor;
}

absl::StatusOr<std::map<int, QuantizedLinear>> Solve(const at::Tensor& weight, const SolveFactor& factor,
                                                     const SolveOptions& options) {
  RETURN_IF_ERROR(CheckShapes(weight, factor, options));
  if (!factor.fallback.empty()) return SolveByRounding(weight, factor, options);
  const int64_t out = weight.size(0), in = weight.size(1);
  std::map<int, QuantizedLinear> results;
  Problem problem = {factor, options, weight.t().contiguous(), {}, results};
  const at::Tensor importance = factor.hessian.diagonal().contiguous();
  for (const int bits : options.widths) {
    at::Tensor scales = at::empty({in / options.group_size, out}, at::kFloat);
    FitGrid(problem.weight.const_data_ptr<float>(), importance.const_data_ptr<float>(), in, out,
            {bits, options.group_size, options.scale_search}, scales.data_ptr<float>());
    results[bits] = {at::empty({in, out}, at::kByte), scales.to(at::kHalf), 0};
    problem.scales.push_back(scales);
  }
  problem.weight = problem.weight.index_select(0, at::tensor(factor.order, at::kLong));
  const int64_t step = std::max<int64_t>(kLanes, kTileColumns / static_cast<int64_t>(options.widths.size()));
  for (int64_t first = 0; first < out; first += step) {
    RETURN_IF_ERROR(TileSolver(problem, first, std::min(step, out - first)).Run());
  }
  return results;
}

}  // namespace quantmoe
