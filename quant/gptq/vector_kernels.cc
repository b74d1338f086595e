#include "quant/gptq/vector_kernels.h"

#include <cmath>

#include "quant/device/instruction_set.h"
#include "quant/gptq/simd.h"

// Not target_clones: the loader would choose, which asks nobody, and the compiler splits vectors for the
// baseline before it clones. Everything that the .inc files use is included above, so that no inline function
// of the standard library is compiled for more than the baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QUANTMOE_VECTOR_TARGETS 1
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi2")
namespace quantmoe::avx512 {
#include "quant/gptq/vector_kernels.inc"
}  // namespace quantmoe::avx512
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma,bmi2")
namespace quantmoe::avx2 {
#include "quant/gptq/vector_kernels.inc"
}  // namespace quantmoe::avx2
#pragma GCC pop_options
#endif
#pragma GCC push_options
#pragma GCC optimize("O3")
namespace quantmoe::baseline {
#include "quant/gptq/vector_kernels.inc"
}  // namespace quantmoe::baseline
#pragma GCC pop_options

namespace quantmoe {

const VectorKernels& KernelsOf(InstructionSet set) {
#ifdef QUANTMOE_VECTOR_TARGETS
  if (set == InstructionSet::kAvx512) return avx512::kKernels;
  if (set == InstructionSet::kAvx2) return avx2::kKernels;
#endif
  return baseline::kKernels;
}

const VectorKernels& Kernels() { return KernelsOf(CurrentInstructionSet()); }

}  // namespace quantmoe
