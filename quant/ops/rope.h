// Rotary position embedding (arXiv 2104.09864) with the scalings of published checkpoints. Angles in f32; cos
// and sin are rounded to the activation's dtype before use, as transformers does.
#pragma once

#include <ATen/core/Tensor.h>

#include "plan/model/model_spec.h"

namespace quantmoe {

struct RopeTable {
  at::Tensor cos;  // [length, dims], f32
  at::Tensor sin;  // likewise
};

// The table for positions 0 .. length-1 of a sequence of that length, with values that `dtype` holds exactly.
RopeTable MakeRopeTable(const RopeSpec& spec, int64_t length, at::ScalarType dtype);

// Rotates the first `spec.dims` of the last axis of x [n, heads, length, head_dim], which must have stride 1;
// the rest passes through. The result has the shape and dtype of x.
// Interleaved pairs are reordered to halves first, which leaves every q.k unchanged.
at::Tensor ApplyRope(const RopeSpec& spec, const RopeTable& table, const at::Tensor& x);

}  // namespace quantmoe
