// Which instructions our own loops use on this machine. It is part of the determinism class, because fused
// multiply-adds change bits.
#pragma once

#include <vector>

namespace quantmoe {

// Each has all that the ones before it have.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// "baseline", "avx2" or "avx512".
const char* InstructionSetName(InstructionSet set);

// What the determinism class says: "avx512", "avx2", "x86-64" or, on other architectures, "generic".
const char* InstructionSetClass(InstructionSet set);

// What both the CPU and this build have, the best last.
std::vector<InstructionSet> AvailableInstructionSets();
InstructionSet BestInstructionSet();

}  // namespace quantmoe
