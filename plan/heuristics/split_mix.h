// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers with every compiler and library.
#pragma once

#include <cstdint>

namespace quantmoe {

inline constexpr uint64_t kSplitMixStep = 0x9E3779B97F4A7C15u;

inline uint64_t MixBits(uint64_t x) {
  x += kSplitMixStep;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// The next number of the sequence.
inline uint64_t NextSplitMix(uint64_t& state) {
  const uint64_t number = MixBits(state);
  state += kSplitMixStep;
  return number;
}

}  // namespace quantmoe
