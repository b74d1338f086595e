#include "plan/allocate/budget.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/allocate/artifact_size.h"
#include "plan/allocate/expert_ranks.h"
#include "plan/allocate/weight_file_sizes.h"

namespace quantmoe {
namespace {

absl::Status Infeasible(absl::string_view unit, const std::string& minimum, const std::string& maximum,
                        const std::string& asked) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "BIT_BUDGET_INFEASIBLE",
      absl::StrCat("the budget of ", asked, " ", unit, " cannot be met: the smallest plan takes ", minimum,
                   ", the largest ", maximum),
      {{"minimum", minimum}, {"maximum", maximum}, {"asked", asked}});
}

// The smallest or the largest plan.
struct Extreme {
  int64_t bytes = 0;
  double average_bits = 0;
  double stored_bits = 0;
  int64_t rank_bytes = 0;
};

Extreme SizesAt(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                const std::vector<int>& widths, int group_size, int ranks, const WeightFileSizes& files) {
  absl::flat_hash_map<absl::string_view, int> width_of;
  double weights = 0, codes = 0, stored = 0;
  for (size_t i = 0; i < linears.size(); ++i) {
    width_of[linears[i].name] = widths[i];
    weights += static_cast<double>(linears[i].weights());
    codes += static_cast<double>(widths[i] * linears[i].weights());
    stored += 8.0 * static_cast<double>(PackedBytes(linears[i], widths[i], group_size));
  }
  const auto width = [&width_of](const Linear& linear) { return width_of.at(linear.name); };
  Extreme sizes{files.Bytes(widths), codes / weights, stored / weights, 0};
  if (ranks > 0) {
    sizes.rank_bytes = FullestRankBytes(linears, kept, width, group_size, ExpertRanks(linears, ranks));
  }
  return sizes;
}

// Where the budget lies between the smallest and the largest plan, in its own unit.
double ShareOf(double asked, double minimum, double maximum) {
  return maximum > minimum ? std::clamp((asked - minimum) / (maximum - minimum), 0.0, 1.0) : 1.0;
}

template <typename T>
absl::Status CheckAgainst(absl::string_view unit, T asked, T minimum, T maximum) {
  if (asked >= minimum) return absl::OkStatus();
  return Infeasible(unit, absl::StrCat(minimum), absl::StrCat(maximum), absl::StrCat(asked));
}

}  // namespace

SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const std::vector<int>& widths, int group_size) {
  return BoundSizes(linears, kept, AllowedWidths(linears.size(), widths), group_size, /*ranks=*/0);
}

SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const AllowedWidths& allowed, int group_size, int ranks) {
  return BoundSizes(linears, kept, allowed, group_size, ranks, WeightFileSizes(linears, kept, group_size));
}

SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const AllowedWidths& allowed, int group_size, int ranks, const WeightFileSizes& sizes) {
  std::vector<int> smallest, largest;
  for (const std::vector<int>& widths : allowed) {
    smallest.push_back(widths.front());
    largest.push_back(widths.back());
  }
  const Extreme low = SizesAt(linears, kept, smallest, group_size, ranks, sizes);
  const Extreme high = SizesAt(linears, kept, largest, group_size, ranks, sizes);
  return {low.bytes,       high.bytes,       low.average_bits, high.average_bits,
          low.stored_bits, high.stored_bits, low.rank_bytes,   high.rank_bytes};
}

// Stored bytes are linear in the average width, but for a few digits of the headers.
int64_t BudgetBytes(const Budget& budget, const SizeBounds& bounds) {
  if (budget.max_bytes) return std::min(*budget.max_bytes, bounds.maximum_bytes);
  double share = 0;
  if (budget.rank_bytes) {
    share = ShareOf(static_cast<double>(budget.rank_bytes->max_bytes),
                    static_cast<double>(bounds.minimum_rank_bytes),
                    static_cast<double>(bounds.maximum_rank_bytes));
  } else if (budget.stored_bits) {
    share = ShareOf(*budget.stored_bits, bounds.minimum_stored_bits, bounds.maximum_stored_bits);
  } else {
    share =
        ShareOf(budget.average_bits.value_or(0), bounds.minimum_average_bits, bounds.maximum_average_bits);
  }
  const double bytes = static_cast<double>(bounds.maximum_bytes - bounds.minimum_bytes);
  return bounds.minimum_bytes + static_cast<int64_t>(share * bytes);
}

absl::Status CheckBudget(const Budget& budget, const SizeBounds& bounds) {
  if (budget.max_bytes) {
    return CheckAgainst("bytes", *budget.max_bytes, bounds.minimum_bytes, bounds.maximum_bytes);
  }
  if (budget.stored_bits) {
    return CheckAgainst("stored bits", *budget.stored_bits, bounds.minimum_stored_bits,
                        bounds.maximum_stored_bits);
  }
  if (budget.rank_bytes) {
    return CheckAgainst("bytes per rank", budget.rank_bytes->max_bytes, bounds.minimum_rank_bytes,
                        bounds.maximum_rank_bytes);
  }
  return CheckAgainst("average bits", budget.average_bits.value_or(0), bounds.minimum_average_bits,
                      bounds.maximum_average_bits);
}

int64_t AverageBitsCapacity(double average_bits, int64_t weights) {
  const double total = static_cast<double>(weights);
  int64_t capacity = static_cast<int64_t>(std::floor(average_bits * total));
  while (static_cast<double>(capacity + 1) / total <= average_bits) ++capacity;
  while (capacity > 0 && static_cast<double>(capacity) / total > average_bits) --capacity;
  return capacity;
}

int64_t WidthBytes(const Linear& linear, int width, int group_size) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : PackedTensors(linear, width, group_size)) {
    bytes += tensor.data_bytes();
    for (int64_t dimension : tensor.shape) bytes += static_cast<int64_t>(absl::StrCat(dimension).size());
  }
  return bytes;
}

int DefaultGroupSize(const std::vector<Linear>& linears) {
  for (int group : {128, 64, 32}) {
    const bool divides = std::all_of(linears.begin(), linears.end(),
                                     [group](const Linear& linear) { return linear.in % group == 0; });
    if (divides) return group;
  }
  return 0;
}

}  // namespace quantmoe
