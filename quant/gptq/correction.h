// Weights that make up for what the layers before them lost: when a linear will see x' instead of x, the best
// real-valued weight for it is no longer W.
#pragma once

#include <ATen/core/Tensor.h>

#include "quant/gptq/solver.h"

namespace quantmoe {

// The weight W* that minimises sum |W x - W* x'|^2 + damp |W* - W|^2 over the calibration tokens, where x are
// the inputs in the original model and x' those behind quantized layers (GPTAQ, arXiv 2504.02692, eq. 6, in
// closed form): W* = W + strength * W (sum (x - x') x'^T) H'^-1. weight [out, in] f32, cross [in, in] = sum
// (x - x') x'^T, `factor` that of H' = sum x' x'^T. Returns [out, in] f32; `weight` itself when the factor is
// a fallback.
at::Tensor CorrectedWeight(const at::Tensor& weight, const at::Tensor& cross, const SolveFactor& factor,
                           double strength);

}  // namespace quantmoe
