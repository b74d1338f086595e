// Functions with this mark are compiled for AVX-512, AVX2 and the baseline; the loader picks at start. Which
// one runs is part of the determinism class, because fused multiply-adds change bits.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define QUANTMOE_SIMD \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default"), optimize("O3"), flatten))
#else
#define QUANTMOE_SIMD
#endif
