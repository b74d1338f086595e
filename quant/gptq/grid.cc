#include "quant/gptq/grid.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <c10/util/Half.h>

#include "quant/gptq/simd.h"

namespace quantmoe {
namespace {

// Output columns that are fitted together; the innermost loops run over them.
constexpr int kLanes = 32;
// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even.
constexpr float kRound = 12582912.0f;
// Shares of the full range that the search tries before it refines.
constexpr float kShares[] = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f, 0.65f,
                             0.6f, 0.55f, 0.5f, 0.45f, 0.4f, 0.35f, 0.3f};
constexpr int kRefinements = 3;

struct Lanes {
  float v[kLanes];
};

// One pass over a group [size, kLanes] at the scales `s`: the weighted squared error, and the sums that give
// the best scale for these codes, sum h w q and sum h q^2.
QUANTMOE_SIMD void Measure(const float* w, const float* h, int size, const float* s, float low, float high,
                           float* error, float* wq, float* qq) {
  Lanes inverse, e{}, a{}, b{};
  for (int c = 0; c < kLanes; ++c) inverse.v[c] = s[c] != 0.0f ? 1.0f / s[c] : 0.0f;
  for (int i = 0; i < size; ++i) {
    const float* row = w + static_cast<int64_t>(i) * kLanes;
    const float weight = h[i];
    for (int c = 0; c < kLanes; ++c) {
      float q = (row[c] * inverse.v[c] + kRound) - kRound;
      q = q < low ? low : q;
      q = q > high ? high : q;
      const float d = row[c] - q * s[c];
      e.v[c] += weight * d * d;
      a.v[c] += weight * row[c] * q;
      b.v[c] += weight * q * q;
    }
  }
  for (int c = 0; c < kLanes; ++c) {
    error[c] = e.v[c];
    wq[c] = a.v[c];
    qq[c] = b.v[c];
  }
}

float RoundToHalf(float value) {
  constexpr float kLargest = 65504.0f;
  return static_cast<float>(c10::Half(std::clamp(value, -kLargest, kLargest)));
}

// Scales of one group for kLanes columns.
class GroupFit {
 public:
  GroupFit(const float* w, const float* h, int size, int bits)
      : w_(w), h_(h), size_(size), low_(-static_cast<float>(1 << (bits - 1))), high_(-low_ - 1) {
    for (int i = 0; i < size; ++i) {
      for (int c = 0; c < kLanes; ++c) {
        lowest_.v[c] = std::min(lowest_.v[c], w[i * kLanes + c]);
        highest_.v[c] = std::max(highest_.v[c], w[i * kLanes + c]);
      }
    }
  }

  // The scale at which the largest magnitude sits half a step beyond the largest code, as GPTQ's symmetric
  // grid has it.
  void UseFullRange(float* scales) const {
    for (int c = 0; c < kLanes; ++c) scales[c] = RoundToHalf(Peak(c) / (high_ + 0.5f));
  }

  // Least squared error over shrunken ranges of both signs, each then refined by the least-squares scale of
  // its codes.
  void Search(float* scales) {
    for (int c = 0; c < kLanes; ++c) best_error_.v[c] = HUGE_VALF;
    for (const float share : kShares) {
      Lanes s;
      for (int c = 0; c < kLanes; ++c) s.v[c] = RoundToHalf(share * Peak(c) / (high_ + 0.5f));
      Try(s, scales);
      for (int c = 0; c < kLanes; ++c) s.v[c] = RoundToHalf(share * Reversed(c));
      Try(s, scales);
    }
    for (int pass = 0; pass < kRefinements; ++pass) {
      Lanes s;
      for (int c = 0; c < kLanes; ++c) {
        s.v[c] = best_qq_.v[c] > 0 ? RoundToHalf(best_wq_.v[c] / best_qq_.v[c]) : scales[c];
      }
      Try(s, scales);
    }
  }

 private:
  float Peak(int c) const { return std::max(-lowest_.v[c], highest_.v[c]); }
  // The scale that puts the peak on the lowest code, which has no counterpart above.
  float Reversed(int c) const {
    return (highest_.v[c] > -lowest_.v[c] ? highest_.v[c] : lowest_.v[c]) / low_;
  }

  void Try(const Lanes& s, float* scales) {
    Lanes error, wq, qq;
    Measure(w_, h_, size_, s.v, low_, high_, error.v, wq.v, qq.v);
    for (int c = 0; c < kLanes; ++c) {
      if (!(error.v[c] < best_error_.v[c])) continue;
      best_error_.v[c] = error.v[c];
      best_wq_.v[c] = wq.v[c];
      best_qq_.v[c] = qq.v[c];
      scales[c] = s.v[c];
    }
  }

  const float* w_;
  const float* h_;
  const int size_;
  const float low_, high_;
  Lanes lowest_{}, highest_{};
  Lanes best_error_, best_wq_, best_qq_;
};

}  // namespace

void FitGrid(const float* weights, const float* importance, int64_t in, int64_t out,
             const GridOptions& options, float* scales) {
  const int size = options.group_size;
  const std::vector<float> ones(importance == nullptr ? static_cast<size_t>(in) : 0, 1.0f);
  const float* h = importance == nullptr ? ones.data() : importance;
  const int64_t tiles = (out + kLanes - 1) / kLanes;
  at::parallel_for(0, (in / size) * tiles, /*grain_size=*/4, [&](int64_t begin, int64_t end) {
    std::vector<float> tile(static_cast<size_t>(size) * kLanes);
    float fitted[kLanes];
    for (int64_t job = begin; job < end; ++job) {
      const int64_t group = job / tiles, column = job % tiles * kLanes;
      const int count = static_cast<int>(std::min<int64_t>(kLanes, out - column));
      std::fill(tile.begin(), tile.end(), 0.0f);
      for (int i = 0; i < size; ++i) {
        const float* row = weights + (group * size + i) * out + column;
        std::copy(row, row + count, &tile[static_cast<size_t>(i) * kLanes]);
      }
      GroupFit fit(tile.data(), h + group * size, size, options.bits);
      fit.UseFullRange(fitted);
      if (options.search) fit.Search(fitted);
      std::copy(fitted, fitted + count, scales + group * out + column);
    }
  });
}

}  // namespace quantmoe
