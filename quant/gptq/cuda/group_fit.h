// What one GPU thread does for a grid: one group of one output. The search is that of
// quant/gptq/grid_kernel.inc, for one output instead of a vector of them.
#pragma once

#include "quant/gptq/cuda/exact_math.h"
#include "quant/gptq/cuda/kernels.h"

namespace quantmoe::kernel {

// The weights of a group, `stride` apart, and the importance of their channels.
class GroupFit {
 public:
  QUANTMOE_KERNEL GroupFit(const float* weights, int64_t stride, const float* importance, int size)
      : w_(weights), stride_(stride), h_(importance), size_(size) {
    for (int i = 0; i < size; ++i) {
      const float value = w_[i * stride_], magnitude = fabsf(value);
      if (magnitude > peak_) {
        peak_ = magnitude;
        peak_importance_ = h_[i];
        signed_peak_ = value;
      } else if (magnitude == peak_ && value < 0.0f) {
        signed_peak_ = value;  // of two peaks the negative one, as on the CPU
      }
      lowest_ = fminf(lowest_, value);
    }
  }

  // Never 0: a group of zeros gets the least scale there is.
  QUANTMOE_KERNEL float Scale(int bits, int rule) const {
    const float scale = Fitted(bits, rule);
    return scale == 0.0f ? kLeastScale : scale;
  }

 private:
  static constexpr int kRefinements = 3;
  static constexpr float kLeastScale = 0x1p-24f;  // of f16

  // Half a step beyond the largest code for the largest magnitude, or the least weighted squared error among
  // shrunken ranges, refined by the least-squares scale of the codes.
  QUANTMOE_KERNEL float Fitted(int bits, int rule) const {
    const float low = -static_cast<float>(1 << (bits - 1)), full = -low - 0.5f;
    float best = RoundToHalf(peak_ / full);
    if (rule == QUANTMOE_SCALES_RANGE) return best;
    const float lowest = rule == QUANTMOE_SCALES_SIGNED ? signed_peak_ : lowest_;
    float least = INFINITY;
    for (int percent = 100; percent >= 30; percent -= 5) {
      const float share = static_cast<float>(percent) / 100.0f;
      // Clipping the peak alone costs more than the best scale so far. Where the peak is negative the lowest
      // code reaches beyond the share; the last factor stands for the rounding of scales.
      const float cut = peak_ - share * peak_ * (signed_peak_ < 0.0f ? -low / full : 1.0f) * 1.001f;
      if (cut > 0.0f && peak_importance_ * cut * cut > least) break;
      Try(RoundToHalf(share * peak_ / full), low, best, least);
      // The lowest weight on the lowest code, which has no counterpart above; or the peak by a negative
      // scale.
      Try(RoundToHalf(share * lowest / low), low, best, least);
    }
    for (int pass = 0; pass < kRefinements; ++pass) Try(Refined(best, low), low, best, least);
    return best;
  }

  QUANTMOE_KERNEL void Try(float scale, float low, float& best, float& least) const {
    const float inverse = InverseScale(scale);
    float error = 0.0f;
    QUANTMOE_UNROLL(unroll 4)
    for (int i = 0; i < size_; ++i) {
      const float w = w_[i * stride_], d = MultiplyAdd(-NearestCode(w, inverse, low), scale, w);
      error = MultiplyAdd(h_[i] * d, d, error);
    }
    if (error < least) {
      least = error;
      best = scale;
    }
  }

  // The scale that fits the codes at `scale` best: sum h w q / sum h q^2.
  QUANTMOE_KERNEL float Refined(float scale, float low) const {
    const float inverse = InverseScale(scale);
    float wq = 0.0f, qq = 0.0f;
    QUANTMOE_UNROLL(unroll 4)
    for (int i = 0; i < size_; ++i) {
      const float w = w_[i * stride_], q = NearestCode(w, inverse, low), hq = h_[i] * q;
      wq = MultiplyAdd(hq, w, wq);
      qq = MultiplyAdd(hq, q, qq);
    }
    return RoundToHalf(qq > 0.0f ? wq / qq : scale);
  }

  const float* w_;
  const int64_t stride_;
  const float* h_;
  const int size_;
  float peak_ = 0.0f, peak_importance_ = 0.0f, signed_peak_ = 0.0f, lowest_ = 0.0f;
};

}  // namespace quantmoe::kernel
