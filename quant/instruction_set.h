// Which instructions our own loops use on this machine. It is part of the determinism class, because fused
// multiply-adds change bits.
#pragma once

namespace quantmoe {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The best that both the CPU and this build have.
InstructionSet BestInstructionSet();

// "avx512", "avx2", "x86-64" or, on other architectures, "generic".
const char* InstructionSetName();

}  // namespace quantmoe
