// Which instructions the numerics use: our own loops, and those of ATen, MKL and oneDNN, which would choose
// by the CPU. It is part of the determinism class, because fused multiply-adds change bytes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace quantmoe {

// Each has all that the ones before it have.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// "baseline", "avx2" or "avx512".
const char* InstructionSetName(InstructionSet set);

// What both the CPU and this build have, the best last.
std::vector<InstructionSet> AvailableInstructionSets();

// Chooses for this process; call once, before any use of ATen, which asks once. `choice`: a name, or "auto"
// for the best. FAILED_PRECONDITION INSTRUCTION_SET_UNAVAILABLE when the machine lacks it; INVALID_ARGUMENT
// for another text.
absl::Status ChooseInstructionSet(const std::string& choice);

// What was chosen. Where nothing was, this chooses the best.
InstructionSet CurrentInstructionSet();

// What of the CPU may change bytes, for the determinism class: "avx512", "avx2" or "baseline", and "generic"
// on other architectures than x86-64. "-" and the vendor follow for CPUs that are not Intel's, because MKL
// takes other paths on them.
std::string CpuDeterminism();

}  // namespace quantmoe
