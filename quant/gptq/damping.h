// What is tried, in this order, until a Hessian can be factored.
#pragma once

namespace quantmoe {

// Multiples of SolveOptions::damp.
inline constexpr double kDampLadder[] = {1, 3, 10, 30, 100};
// Then, with the largest damp, a floor under the diagonal: shares of its largest element.
inline constexpr double kFloorLadder[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};

}  // namespace quantmoe
