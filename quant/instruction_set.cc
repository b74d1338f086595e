#include "quant/instruction_set.h"

namespace quantmoe {

InstructionSet BestInstructionSet() {
#if defined(__x86_64__)
  // What the loops are compiled for (quant/gptq/simd.h, vector_kernels.cc).
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (avx2) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kBaseline;
}

const char* InstructionSetName() {
  switch (BestInstructionSet()) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kBaseline:
      break;
  }
#if defined(__x86_64__)
  return "x86-64";
#else
  return "generic";
#endif
}

}  // namespace quantmoe
