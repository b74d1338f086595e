// What a budget means: the sizes that are possible at all, and the cost of a linear at a width.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "plan/allocate/width_rules.h"
#include "plan/model/linears.h"
#include "plan/options/budget_spec.h"
#include "storage/safetensors.h"

namespace quantmoe {

class WeightFileSizes;

// Sizes of the smallest and the largest plan.
struct SizeBounds {
  int64_t minimum_bytes = 0;
  int64_t maximum_bytes = 0;
  double minimum_average_bits = 0;
  double maximum_average_bits = 0;
  double minimum_stored_bits = 0;
  double maximum_stored_bits = 0;
  int64_t minimum_rank_bytes = 0;  // 0 unless `ranks` are given
  int64_t maximum_rank_bytes = 0;
};
// `widths` sorted and not empty.
SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const std::vector<int>& widths, int group_size);
// `allowed` are the widths of each linear. `ranks` as in RankBudget, or 0; they must divide the experts.
SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const AllowedWidths& allowed, int group_size, int ranks);
// For those who have the `sizes` of the same linears, kept tensors and group size.
SizeBounds BoundSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                      const AllowedWidths& allowed, int group_size, int ranks, const WeightFileSizes& sizes);

// Bytes of the weight files that a budget leads to when it is used up.
int64_t BudgetBytes(const Budget& budget, const SizeBounds& bounds);

// FAILED_PRECONDITION BIT_BUDGET_INFEASIBLE {minimum, maximum, asked} when the smallest plan is over the
// budget. A budget above the largest plan is fine: it is a limit.
absl::Status CheckBudget(const Budget& budget, const SizeBounds& bounds);

// The largest sum(bits * weights) whose average over `weights` is at most `average_bits`.
int64_t AverageBitsCapacity(double average_bits, int64_t weights);

// Bytes that depend on the width of a linear: tensor data and the digits of its shapes in the header.
int64_t WidthBytes(const Linear& linear, int width, int group_size);

// The largest of 128, 64 and 32 that divides every input width; 0 when none does.
int DefaultGroupSize(const std::vector<Linear>& linears);

}  // namespace quantmoe
