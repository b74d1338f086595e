#include "plan/budget.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/artifact_size.h"
#include "plan/job_spec.h"

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

int64_t BytesAt(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept, int bits,
                int group_size) {
  return WeightFileBytes(LayOutWeightFiles(
      linears, kept, [bits](const Linear&) { return bits; }, group_size));
}

}  // namespace

SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const std::vector<int>& widths, int group_size) {
  return {BytesAt(linears, kept, widths.front(), group_size),
          BytesAt(linears, kept, widths.back(), group_size), static_cast<double>(widths.front()),
          static_cast<double>(widths.back())};
}

// Stored bytes are linear in the average width, but for a few digits of the headers.
int64_t BudgetBytes(const Budget& budget, const SizeBounds& bounds) {
  if (budget.max_bytes) return std::min(*budget.max_bytes, bounds.maximum_bytes);
  const double range = bounds.maximum_average_bits - bounds.minimum_average_bits;
  if (range <= 0) return bounds.maximum_bytes;
  const double share = (budget.average_bits.value_or(0) - bounds.minimum_average_bits) / range;
  const double bytes = static_cast<double>(bounds.maximum_bytes - bounds.minimum_bytes);
  return bounds.minimum_bytes + static_cast<int64_t>(std::clamp(share, 0.0, 1.0) * bytes);
}

absl::Status CheckBudget(const Budget& budget, const SizeBounds& bounds) {
  if (budget.max_bytes && *budget.max_bytes < bounds.minimum_bytes) {
    return Infeasible("bytes", absl::StrCat(bounds.minimum_bytes), absl::StrCat(bounds.maximum_bytes),
                      absl::StrCat(*budget.max_bytes));
  }
  if (budget.average_bits && *budget.average_bits < bounds.minimum_average_bits) {
    return Infeasible("average bits", absl::StrCat(bounds.minimum_average_bits),
                      absl::StrCat(bounds.maximum_average_bits), absl::StrCat(*budget.average_bits));
  }
  return absl::OkStatus();
}

int64_t AverageBitsCapacity(double average_bits, int64_t weights) {
  const double total = static_cast<double>(weights);
  int64_t capacity = static_cast<int64_t>(std::floor(average_bits * total));
  while (static_cast<double>(capacity + 1) / total <= average_bits) ++capacity;
  while (capacity > 0 && static_cast<double>(capacity) / total > average_bits) --capacity;
  return capacity;
}

int64_t WidthBytes(const Linear& linear, int bits, int group_size) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : PackedTensors(linear, bits, group_size)) {
    bytes += tensor.elements() * DTypeBytes(tensor.dtype);
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
