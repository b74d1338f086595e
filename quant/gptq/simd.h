// Two ways to write a hot loop. QUANTMOE_SIMD before a function with plain loops: the compiler vectorises it
// for AVX-512, AVX2 and the baseline, and the loader picks at start. Explicit vectors (below): only in the
// .inc files that vector_kernels.cc compiles once for each instruction set.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define QUANTMOE_SIMD \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default"), optimize("O3"), flatten))
#else
#define QUANTMOE_SIMD
#endif

namespace quantmoe {

// Sixteen values: one register with AVX-512, two with AVX2, four below. They are passed by reference only,
// because how they are passed by value differs between instruction sets, and go to and from memory only
// by Load and Store of vector_memory.inc.
constexpr int kVectorLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Integers __attribute__((vector_size(64)));
typedef uint8_t Bytes __attribute__((vector_size(16)));

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even.
constexpr float kRound = 12582912.0f;

}  // namespace quantmoe
