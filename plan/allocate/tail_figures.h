// How far a plan is from the original model on a sample of windows: beside the mean, the tails in which rare
// failures stand.
#pragma once

#include <cstdint>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace quantmoe {

// KL divergences of the predicted tokens from the original model's, in nats a token.
struct TailFigures {
  double mean = 0;
  double cvar = 0;           // mean of the worst tenth of the windows
  double worst_window = 0;   // the largest mean of a window
  double percentile_99 = 0;  // of single tokens
  double percentile_999 = 0;
  int broken_windows = 0;  // whose mean is above ten times that of the median window
  int64_t top1_flips = 0;  // tokens whose most likely prediction is another one

  friend bool operator==(const TailFigures&, const TailFigures&) = default;
};

// Means of the windows of `length` tokens, one after the other; `rows` are a whole number of them, one at
// least.
std::vector<double> WindowMeans(const std::vector<double>& rows, int64_t length);
TailFigures FiguresOf(const std::vector<double>& rows, int64_t length, int64_t top1_flips);

nlohmann::json TailFiguresJson(const TailFigures& figures);
// Throws what nlohmann::json throws for a value that is none.
TailFigures TailFiguresOf(const nlohmann::json& value);

}  // namespace quantmoe
