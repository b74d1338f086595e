// Vectors for the .inc files that vector_kernels.cc compiles once for each instruction set.
#pragma once

#include <cstdint>

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
