// How many channels calibration determines.
#pragma once

#include <ATen/core/Tensor.h>

namespace quantmoe {

// Channels that the inputs determine rather than the damping: the degrees of freedom of a ridge regression on
// them, tr(H (H + D)^-1) (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, eq. 3.50),
// estimated with random signs of a fixed seed (Hutchinson 1990).
//   upper  [..., in, in] f32: V with H + D = V V^T
//   added  [..., in]: the diagonal of D
// Returns [...] f64 between 0 and in, on the device of `upper`.
at::Tensor EffectiveRanks(const at::Tensor& upper, const at::Tensor& added);

}  // namespace quantmoe
