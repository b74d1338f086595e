// GPTQ (arXiv 2210.17323) with static groups, for all candidate widths in one pass over one factorisation.
//
// Left-looking and blocked: for each block of columns one GEMM brings the compensation of everything before
// it, then the block is solved column by column in cache. Grids are fitted on the original weights (static
// groups), so act-order leaves groups contiguous and costs nothing at run time.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <ATen/core/Tensor.h>

#include "plan/options/column_order.h"
#include "plan/options/scale_rule.h"
#include "quant/gptq/round_to_nearest.h"

namespace quantmoe {

struct SolveOptions {
  std::vector<int> widths = {2, 3, 4, 8};
  int group_size = 128;
  double damp = 0.01;  // share of the mean of the Hessian's live diagonal that is added to it
  ColumnOrder order = ColumnOrder::kActivation;
  ScaleRule scales = ScaleRule::kAuto;
  double min_tokens_ratio = 0.25;  // fewer tokens than this share of the input width: round to nearest
  double correction = 0;           // share of the inputs' drift that weights make up for (correction.h)
  const std::atomic<bool>* cancelled = nullptr;
};

// The factor of one Hessian, shared by all linears with the same input. Tensors are on the device of the
// Hessian; on fallback only `hessian` is defined.
struct SolveFactor {
  at::Tensor hessian;  // [in, in] f32, as summed
  at::Tensor order;    // [in] i64: processing order -> input channel
  at::Tensor upper;    // [in, in] f32: V of the permuted, damped Hessian (cholesky.h)
  at::Tensor added;    // [in] f64: what was added to the diagonal, in processing order
  double damp = 0;     // the same as a share of the mean diagonal
  double floor = 0;    // share of the largest diagonal element that the diagonal was raised to; 0: not needed
  int64_t tokens = 0;
  // Channels that the inputs determine (effective_rank.h); 0 on fallback.
  double effective_rank = 0;
  bool supported = false;  // the Hessian was pulled toward that of all tokens (device_solver.h)
  std::string fallback;    // empty, "no_tokens", "few_tokens" or "not_positive_definite"

  // "gptq", "gptq_shrunk", "gptq_floored" or "rtn", as the report has it.
  std::string Method() const {
    if (!fallback.empty()) return "rtn";
    if (supported) return "gptq_shrunk";
    return floor > 0 ? "gptq_floored" : "gptq";
  }
};

// INVALID_ARGUMENT, naming the first thing that is wrong, when `hessian` f32 on the host cannot be a sum of
// outer products of `in` channels: another shape than [in, in], not finite, not symmetric, a negative
// diagonal element. For input from files; a Hessian of this library is symmetric by construction.
absl::Status CheckHessian(const at::Tensor& hessian, int64_t in);

// Symmetric `hessian` [in, in] f32 on the host; only finiteness is checked. Never fails for a bad one: the
// damping ladder (x1, x3, x10, x30, x100), then a floor under the diagonal (1e-6 .. 0.1 of its largest
// element), then a fallback to rounding. INVALID_ARGUMENT when it is not square; FAILED_PRECONDITION
// NUMERIC_FAILURE when it is not finite.
absl::StatusOr<SolveFactor> Factor(const at::Tensor& hessian, int64_t tokens, const SolveOptions& options);

// Quantizes weight [out, in] f32 at every width, on the host. INVALID_ARGUMENT for shapes that do not fit or
// non-finite weights, an empty matrix, a width outside 2 to 8; CANCELLED.
absl::StatusOr<std::map<int, QuantizedLinear>> Solve(const at::Tensor& weight, const SolveFactor& factor,
                                                     const SolveOptions& options);

}  // namespace quantmoe
