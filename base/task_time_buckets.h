// Bounds of the histograms of task times, in seconds, the same for server and worker so that their series can
// be compared: a rounding of a tiny expert takes milliseconds, a solve of a large layer on a CPU hours.
#pragma once

#include <vector>

namespace quantmoe {

inline const std::vector<double>& TaskTimeBuckets() {
  static const auto& buckets = *new std::vector<double>{0.01, 0.05, 0.1, 0.25, 0.5, 1,    2.5,  5,    10,
                                                        30,   60,   120, 300,  600, 1800, 3600, 7200, 21600};
  return buckets;
}

}  // namespace quantmoe
