// What a plan risks over windows of a sample: the mean loss of all windows blended with that of the worst
// ones.
//
//   risk = (1 - weight) mean_r L_r + weight CVaR_level(L)
//
// CVaR (Rockafellar and Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2, 2000) is the
// mean of the worst share 1 - level of the windows; where the share ends inside a window, that one counts
// with the part that is in. It is also the largest sum_r w_r L_r over weights that sum to 1 with 0 <= w_r <=
// 1 / ((1 - level) R), so the risk is a maximum of weighted sums.
//
// Losses are of any unit and sign, finite, and of at least one window. Sums run from the worst window down,
// so a risk does not depend on the order of windows. Nothing here is more than + - * / and comparisons.
#pragma once

#include <cstddef>
#include <vector>

namespace quantmoe {

struct TailRisk {
  double level = 0.9;   // from 0 (CVaR is the mean) to 1 (it is the worst window)
  double weight = 0.5;  // from 0 (the mean alone) to 1 (the tail alone)
};

struct RiskOfLosses {
  double mean = 0;
  double cvar = 0;
  double risk = 0;
};
RiskOfLosses MeasureRisk(std::vector<double> losses, const TailRisk& tail);

// The weights of CVaR at these losses: sum_r w_r L_r is the CVaR.
std::vector<double> TailWeights(const std::vector<double>& losses, double level);

// The most that one of `windows` windows weighs in CVaR: 1 where the share is less than one window.
double LargestWindowWeight(size_t windows, double level);

// The weights that sum to 1, exceed `largest` nowhere, and are nearest to `weights` in relative entropy: what
// is too large is cut, and the rest is scaled together. `weights` are positive; `largest` times their number
// is at least 1.
std::vector<double> CapWeights(std::vector<double> weights, double largest);

}  // namespace quantmoe
