// What the operating system says about memory: how much there is to use, and how much this process used.
// Linux only; bytes everywhere.
#pragma once

#include <cstdint>

namespace quantmoe {

// The least of what the host has available and what the control group of the process may still use. 0 when
// unknown.
int64_t AvailableMemoryBytes();

// Resident memory now.
int64_t ResidentMemoryBytes();

// Highest resident memory since the last ResetPeakMemory, or since the process began where the kernel cannot
// reset it.
int64_t PeakMemoryBytes();
void ResetPeakMemory();

// Processor time of the process so far.
double ProcessCpuSeconds();

}  // namespace quantmoe
