#include "quant/gptq/solver.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/gptq/block_triangle.h"
#include "quant/gptq/cholesky.h"
#include "quant/gptq/damping.h"
#include "quant/gptq/effective_rank.h"
#include "quant/gptq/finite.h"
#include "quant/gptq/packing.h"
#include "quant/gptq/vector_kernels.h"

namespace quantmoe {
namespace {

constexpr int64_t kSweepColumns = 512;  // columns that one large product prepares
// Outputs times widths of one tile: bounds the memory of a solve, and tiles are what threads share. Fixed,
// because the shape of a product may show in its last bits.
constexpr int64_t kTileOutputs = 512;
static_assert(kSweepColumns % kBlockColumns == 0);

std::string Shape(const at::Tensor& tensor) {
  return absl::StrCat("[", absl::StrJoin(tensor.sizes().vec(), ", "), "]");
}

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// [in] i64.
at::Tensor ProcessingOrder(const at::Tensor& diagonal, const SolveOptions& options) {
  at::Tensor channels = at::arange(diagonal.size(0), at::kLong);
  if (options.order == ColumnOrder::kNatural) return channels;
  const absl::Span<int64_t> order(channels.data_ptr<int64_t>(), static_cast<size_t>(channels.numel()));
  const float* d = diagonal.const_data_ptr<float>();
  std::stable_sort(order.begin(), order.end(), [d](int64_t a, int64_t b) { return d[a] > d[b]; });
  if (options.order == ColumnOrder::kActivation) return channels;
  // Where the first, and so the largest, column of each group stands.
  std::vector<int64_t> place(order.size(), -1);
  const auto group = [&](int64_t channel) { return static_cast<size_t>(channel / options.group_size); };
  for (size_t i = 0; i < order.size(); ++i) {
    if (place[group(order[i])] < 0) place[group(order[i])] = static_cast<int64_t>(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return place[group(a)] < place[group(b)]; });
  return channels;
}

// The upper triangle of the Hessian in processing order. Below it, values of the diagonal blocks are finite
// and the others are not set: nothing depends on either.
at::Tensor PermutedUpper(const at::Tensor& hessian, const at::Tensor& order) {
  const int64_t n = hessian.size(0);
  const int64_t* channels = order.const_data_ptr<int64_t>();
  const std::vector<int32_t> index(channels, channels + n);
  at::Tensor permuted = at::empty({n, n}, at::kFloat);
  const float* from = hessian.const_data_ptr<float>();
  float* to = permuted.data_ptr<float>();
  at::parallel_for(0, n, /*grain_size=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row / kBlockColumns * kBlockColumns;
      Kernels().gather(from + channels[row] * n, index.data() + first, n - first, to + row * n + first);
    }
  });
  return permuted;
}

// A linear while it is solved: the transposed weights, the grids, and what is found. Rows are input channels
// and hold outputs up to a multiple of kRunOutputs; those beyond the last have weight and scale zero.
struct Problem {
  const SolveFactor& factor;
  const SolveOptions& options;
  at::Tensor weight;               // [in, padded] f32
  std::vector<at::Tensor> scales;  // per width: [groups, padded] f32
  std::vector<at::Tensor> codes;   // per width: [in, padded] u8
};

// One run of outputs at all widths.
class TileSolver {
 public:
  TileSolver(Problem& problem, int64_t first_output, int64_t outputs)
      : p_(problem),
        first_(first_output),
        outputs_(outputs),
        widths_(static_cast<int64_t>(problem.options.widths.size())),
        products_(at::empty({kSweepColumns, outputs * widths_}, at::kFloat)),
        differences_(at::empty({problem.weight.size(0), outputs * widths_}, at::kFloat)),
        distortions_(problem.options.widths.size(), 0.0) {}

  // The distortion at each width.
  absl::StatusOr<std::vector<double>> Run() {
    const int64_t in = p_.weight.size(0);
    for (int64_t begin = 0; begin < in; begin += kSweepColumns) {
      if (p_.options.cancelled != nullptr && *p_.options.cancelled) return absl::CancelledError("cancelled");
      SolveSweep(begin, std::min(begin + kSweepColumns, in));
    }
    return distortions_;
  }

 private:
  at::Tensor Upper(int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) const {
    return p_.factor.upper.slice(0, row_begin, row_end).slice(1, begin, end);
  }

  void SolveSweep(int64_t begin, int64_t end) {
    at::Tensor products = products_.slice(0, 0, end - begin);
    if (begin > 0) {
      at::mm_out(products, Upper(0, begin, begin, end).t(), differences_.slice(0, 0, begin));
    } else {
      products.zero_();
    }
    const int64_t step = RunningScales() ? p_.options.group_size : kBlockColumns;
    for (int64_t block = begin; block < end; block += step) {
      const int64_t block_end = std::min(block + step, end);
      at::Tensor product = products.slice(0, block - begin, block_end - begin);
      if (block > begin) {
        product.addmm_(Upper(begin, block, block, block_end).t(), differences_.slice(0, begin, block));
      }
      if (RunningScales()) FitGroup(block, product);
      SolveBlock(block, block_end, product);
    }
  }

  // The input channel of a column.
  int64_t Channel(int64_t column) const { return p_.factor.order.const_data_ptr<int64_t>()[column]; }

  // Scales are fitted when their group is reached; then a block is a group.
  bool RunningScales() const { return p_.options.order == ColumnOrder::kGroup; }

  // Fits the scales of the group that starts at column `begin` on its weights as they are now.
  void FitGroup(int64_t begin, const at::Tensor& product) {
    const int64_t size = p_.options.group_size, end = begin + size;
    const int64_t group = Channel(begin) / size;
    const at::Tensor channels = p_.factor.order.slice(0, begin, end);
    const at::Tensor weights = p_.weight.slice(1, first_, first_ + outputs_).index_select(0, channels);
    const at::Tensor pivots = Upper(begin, end, begin, end).diagonal().contiguous();
    const at::Tensor importance = p_.factor.hessian.diagonal().index_select(0, channels);
    for (int64_t width = 0; width < widths_; ++width) {
      const at::Tensor now =
          product.slice(1, width * outputs_, (width + 1) * outputs_) / pivots.unsqueeze(1) + weights;
      FitGrid(now.const_data_ptr<float>(), importance.const_data_ptr<float>(), size, outputs_,
              {p_.options.widths[static_cast<size_t>(width)], p_.options.group_size, p_.options.scales},
              p_.scales[static_cast<size_t>(width)].data_ptr<float>() + group * p_.weight.size(1) + first_);
    }
  }

  // What every run of a block reads and writes at one width, by column of the block.
  struct Rows {
    std::array<const float*, kBlockColumns> scales;
    std::array<uint8_t*, kBlockColumns> codes;
  };

  void SolveBlock(int64_t begin, int64_t end, const at::Tensor& product) {
    triangle_.Pack(Upper(begin, end, begin, end).const_data_ptr<float>(), p_.weight.size(0),
                   p_.factor.added.const_data_ptr<double>() + begin, static_cast<int>(end - begin));
    std::array<const float*, kBlockColumns> weights;
    std::vector<Rows> rows(static_cast<size_t>(widths_));
    const int64_t padded = p_.weight.size(1);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = Channel(i);
      const int64_t group = channel / p_.options.group_size;
      const auto column = static_cast<size_t>(i - begin);
      weights[column] = p_.weight.const_data_ptr<float>() + channel * padded;
      for (size_t width = 0; width < rows.size(); ++width) {
        rows[width].scales[column] = p_.scales[width].const_data_ptr<float>() + group * padded;
        rows[width].codes[column] = p_.codes[width].data_ptr<uint8_t>() + channel * padded;
      }
    }
    const int64_t runs = outputs_ / kRunOutputs, stride = differences_.size(1);
    const float* products = product.const_data_ptr<float>();
    float* differences = differences_.data_ptr<float>() + begin * stride;
    std::vector<ColumnErrors> errors(static_cast<size_t>(widths_ * runs));
    at::parallel_for(0, widths_ * runs, 1, [&](int64_t from, int64_t to) {
      for (int64_t job = from; job < to; ++job) {
        const auto width = static_cast<size_t>(job / runs);
        errors[static_cast<size_t>(job)] =
            Kernels().solve_columns(triangle_, {.product = products + job * kRunOutputs,
                                                .difference = differences + job * kRunOutputs,
                                                .stride = stride,
                                                .weights = weights.data(),
                                                .scales = rows[width].scales.data(),
                                                .codes = rows[width].codes.data(),
                                                .offset = first_ + job % runs * kRunOutputs,
                                                .bits = p_.options.widths[width]});
      }
    });
    for (int64_t job = 0; job < widths_ * runs; ++job) {
      const ColumnErrors& e = errors[static_cast<size_t>(job)];
      distortions_[static_cast<size_t>(job / runs)] += e.damped - e.added;
    }
  }

  Problem& p_;
  const int64_t first_, outputs_, widths_;
  at::Tensor products_;     // [kSweepColumns, widths * outputs]
  at::Tensor differences_;  // [in, widths * outputs]: weight - quantized, in processing order
  BlockTriangle triangle_;
  std::vector<double> distortions_;  // per width
};

// Solves all tiles, side by side where there is one for every thread, else each on all threads. The
// distortion at each width, added in the order of the tiles.
absl::StatusOr<std::vector<double>> SolveTiles(Problem& problem) {
  const int64_t widths = static_cast<int64_t>(problem.options.widths.size()), padded = problem.weight.size(1);
  const int64_t step = std::max<int64_t>(kRunOutputs, kTileOutputs / widths / kRunOutputs * kRunOutputs);
  const int64_t tiles = (padded + step - 1) / step;
  std::vector<absl::StatusOr<std::vector<double>>> solved(static_cast<size_t>(tiles));
  const auto solve = [&](int64_t from, int64_t to) {
    const c10::InferenceMode inference;  // threads do not inherit it
    for (int64_t tile = from; tile < to; ++tile) {
      const int64_t first = tile * step;
      solved[static_cast<size_t>(tile)] = TileSolver(problem, first, std::min(step, padded - first)).Run();
    }
  };
  if (tiles >= at::get_num_threads()) {
    at::parallel_for(0, tiles, /*grain_size=*/1, solve);
  } else {
    solve(0, tiles);
  }
  std::vector<double> distortions(static_cast<size_t>(widths), 0.0);
  for (const auto& tile : solved) {
    RETURN_IF_ERROR(tile.status());
    for (size_t width = 0; width < distortions.size(); ++width) distortions[width] += (*tile)[width];
  }
  return distortions;
}

absl::Status CheckShapes(const at::Tensor& weight, const SolveFactor& factor, const SolveOptions& options) {
  const auto invalid = [](auto&&... text) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", absl::StrCat(text...));
  };
  if (weight.dim() != 2 || factor.hessian.size(0) != weight.size(1)) {
    return invalid("weight and Hessian do not fit: ", weight.dim() == 2 ? weight.size(1) : 0,
                   " input channels and a ", factor.hessian.size(0), "-wide Hessian");
  }
  if (weight.numel() == 0) return invalid("the weight matrix is empty");
  if (options.group_size <= 0 || weight.size(1) % options.group_size != 0) {
    return invalid("group size ", options.group_size, " does not divide ", weight.size(1), " input channels");
  }
  if (options.order == ColumnOrder::kGroup && kSweepColumns % options.group_size != 0) {
    return invalid("group-aware order needs a group size that divides ", kSweepColumns, ", not ",
                   options.group_size);
  }
  for (const int bits : options.widths) {
    if (bits < 2 || bits > 8) return invalid("width ", bits, " is not between 2 and 8");
  }
  if (!AllFinite(weight.contiguous())) return invalid("the weights hold NaN or infinite values");
  return absl::OkStatus();
}

// Rounds to nearest; the distortion is taken under the Hessian where there is one.
std::map<int, QuantizedLinear> SolveByRounding(const at::Tensor& weight, const SolveFactor& factor,
                                               const SolveOptions& options) {
  std::map<int, QuantizedLinear> results;
  for (const int bits : options.widths) {
    QuantizedLinear rounded = RoundToNearest(weight, {bits, options.group_size, options.scales});
    const at::Tensor error = weight - Dequantize(rounded.codes, rounded.scales, bits, options.group_size);
    rounded.distortion = Distortion(error, factor.hessian);
    results.emplace(bits, std::move(rounded));
  }
  return results;
}

// Factors the Hessian with `diagonal` in place of its own, by `mean` damped. False when it is not positive
// definite.
bool TryFactor(const at::Tensor& diagonal, double mean, SolveFactor& factor) {
  factor.upper = PermutedUpper(factor.hessian, factor.order);
  factor.upper.diagonal().copy_(diagonal.index_select(0, factor.order) + factor.damp * mean);
  factor.added = factor.upper.diagonal().to(at::kDouble) -
                 factor.hessian.diagonal().index_select(0, factor.order).to(at::kDouble);
  return FactorUpper(factor.upper);
}

void FactorWithLadder(const at::Tensor& diagonal, double mean, const SolveOptions& options,
                      SolveFactor& factor) {
  // A channel that was never active keeps its weight, rounded: it gets the mean, and nothing is compensated
  // through it.
  const at::Tensor live = diagonal.masked_fill(diagonal == 0, mean);
  factor.order = ProcessingOrder(live, options);
  for (const double step : kDampLadder) {
    factor.damp = options.damp * step;
    if (TryFactor(live, mean, factor)) return;
  }
  for (const double floor : kFloorLadder) {
    factor.floor = floor;
    if (TryFactor(live.clamp_min(floor * live.max().item<double>()), mean, factor)) return;
  }
  factor.fallback = "not_positive_definite";
  factor.floor = 0;
  factor.upper = factor.added = factor.order = at::Tensor();
}

}  // namespace

absl::Status CheckHessian(const at::Tensor& hessian, int64_t in) {
  const auto invalid = [](auto&&... text) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", absl::StrCat(text...));
  };
  if (hessian.dim() != 2 || hessian.size(0) != in || hessian.size(1) != in) {
    return invalid("the Hessian must be [", in, ", ", in, "], not ", Shape(hessian));
  }
  if (!AllFinite(hessian.contiguous())) return invalid("the Hessian holds NaN or infinite values");
  const float largest = in == 0 ? 0.0f : hessian.abs().max().item<float>();
  if (in > 0 && (hessian - hessian.t()).abs().max().item<float>() > 1e-3f * largest) {
    return invalid("the Hessian is not symmetric");
  }
  if (in > 0 && hessian.diagonal().min().item<float>() < 0) {
    return invalid("the Hessian has a negative diagonal element");
  }
  return absl::OkStatus();
}

absl::StatusOr<SolveFactor> Factor(const at::Tensor& hessian, int64_t tokens, const SolveOptions& options) {
  if (hessian.dim() != 2 || hessian.size(0) != hessian.size(1)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT",
                     absl::StrCat("the Hessian must be a square matrix, not ", Shape(hessian)));
  }
  SolveFactor factor;
  factor.tokens = tokens;
  factor.hessian = hessian.contiguous();
  if (!AllFinite(factor.hessian)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NUMERIC_FAILURE",
                     "the calibration inputs are not finite");
  }
  const int64_t in = factor.hessian.size(0);
  const at::Tensor diagonal = factor.hessian.diagonal().clone();
  const double live = (diagonal > 0).sum().item<double>();
  if (tokens == 0 || live == 0) {
    factor.fallback = "no_tokens";
    return factor;
  }
  if (static_cast<double>(tokens) < options.min_tokens_ratio * static_cast<double>(in)) {
    factor.fallback = "few_tokens";
    return factor;
  }
  FactorWithLadder(diagonal, diagonal.sum(at::kDouble).item<double>() / live, options, factor);
  if (factor.fallback.empty())
    factor.effective_rank = EffectiveRanks(factor.upper, factor.added).item<double>();
  return factor;
}

absl::StatusOr<std::map<int, QuantizedLinear>> Solve(const at::Tensor& weight, const SolveFactor& factor,
                                                     const SolveOptions& options) {
  RETURN_IF_ERROR(CheckShapes(weight, factor, options));
  if (!factor.fallback.empty()) return SolveByRounding(weight, factor, options);
  const int64_t out = weight.size(0), in = weight.size(1), padded = RoundUp(out, kRunOutputs);
  Problem problem = {factor, options, at::empty({in, padded}, at::kFloat), {}, {}};
  problem.weight.slice(1, 0, out).copy_(weight.t());
  problem.weight.slice(1, out, padded).zero_();
  const at::Tensor importance = factor.hessian.diagonal().contiguous();
  for (const int bits : options.widths) {
    problem.scales.push_back(at::empty({in / options.group_size, padded}, at::kFloat));
    if (options.order != ColumnOrder::kGroup) {
      FitGrid(problem.weight.const_data_ptr<float>(), importance.const_data_ptr<float>(), in, padded,
              {bits, options.group_size, options.scales}, problem.scales.back().data_ptr<float>());
    }
    problem.codes.push_back(at::empty({in, padded}, at::kByte));
  }
  ASSIGN_OR_RETURN(const std::vector<double> distortions, SolveTiles(problem));
  std::map<int, QuantizedLinear> results;
  for (size_t i = 0; i < options.widths.size(); ++i) {
    results[options.widths[i]] = {problem.codes[i].slice(1, 0, out).contiguous(),
                                  problem.scales[i].slice(1, 0, out).to(at::kHalf), distortions[i]};
  }
  return results;
}

}  // namespace quantmoe
