// Arithmetic that agrees to the last bit on a GPU and on the host: every operation is rounded once and as
// written. Sources that include it are compiled without contraction (--fmad=false, -ffp-contract=off).
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QUANTMOE_KERNEL __host__ __device__ __forceinline__
#else
#define QUANTMOE_KERNEL inline
#endif
#ifdef __CUDA_ARCH__
#define QUANTMOE_UNROLL(pragma) _Pragma(#pragma)
#else
#define QUANTMOE_UNROLL(pragma)
#endif

namespace quantmoe::kernel {

QUANTMOE_KERNEL float MultiplyAdd(float a, float b, float c) { return fmaf(a, b, c); }

// The nearest code low .. -low - 1 of a value whose scale has this inverse, as a float; ties to even. Adding
// and subtracting 1.5 * 2^23 rounds to an integer.
QUANTMOE_KERNEL float NearestCode(float value, float inverse, float low) {
  constexpr float kRound = 12582912.0f;
  const float code = MultiplyAdd(value, inverse, kRound) - kRound;
  return fminf(fmaxf(code, low), -low - 1.0f);
}

QUANTMOE_KERNEL float InverseScale(float scale) { return scale != 0.0f ? 1.0f / scale : 0.0f; }

// To the nearest value that f16 holds, ties to even, at most its largest.
QUANTMOE_KERNEL float RoundToHalf(float x) {
  constexpr float kLargest = 65504.0f, kSmallestNormal = 0x1p-14f;
  x = fminf(fmaxf(x, -kLargest), kLargest);
  // Below the smallest normal value f16 counts in steps of 2^-24.
  if (fabsf(x) < kSmallestNormal) return (x + 0.75f) - 0.75f;
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x0FFFu + ((bits >> 13) & 1u)) & ~0x1FFFu;
  memcpy(&x, &bits, sizeof bits);
  return x;
}

}  // namespace quantmoe::kernel
