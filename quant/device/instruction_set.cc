#include "quant/device/instruction_set.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"

namespace quantmoe {
namespace {

// A set, and how the libraries are told not to go beyond it. MKL's strict mode makes bytes independent of the
// number of threads and of alignment; there is none below AVX2, where SetTaskThreads keeps to one thread.
struct Entry {
  InstructionSet set;
  const char* name;
  const char *mkl, *aten, *onednn;
};
constexpr Entry kEntries[] = {
    {InstructionSet::kBaseline, "baseline", "COMPATIBLE", "default", "SSE41"},
    {InstructionSet::kAvx2, "avx2", "AVX2,STRICT", "avx2", "AVX2"},
    {InstructionSet::kAvx512, "avx512", "AVX512,STRICT", "avx512", "AVX512_CORE"},
};

const Entry& EntryOf(InstructionSet set) { return kEntries[static_cast<size_t>(set)]; }

std::atomic<const Entry*> chosen = nullptr;

// Each library reads its variables at its first call.
void Use(InstructionSet set) {
  const Entry& entry = EntryOf(set);
  setenv("MKL_CBWR", entry.mkl, /*overwrite=*/1);
  unsetenv("MKL_ENABLE_INSTRUCTIONS");
  setenv("ATEN_CPU_CAPABILITY", entry.aten, /*overwrite=*/1);
  setenv("ONEDNN_MAX_CPU_ISA", entry.onednn, /*overwrite=*/1);
  chosen = &entry;
}

#if defined(__x86_64__)
std::string CpuVendor() {
  unsigned int leaf, parts[3];
  if (__get_cpuid(0, &leaf, &parts[0], &parts[2], &parts[1]) == 0) return "unknown";
  char vendor[sizeof(parts)];
  std::memcpy(vendor, parts, sizeof(parts));
  return std::string(vendor, strnlen(vendor, sizeof(vendor)));
}
#endif

}  // namespace

const char* InstructionSetName(InstructionSet set) { return EntryOf(set).name; }

std::vector<InstructionSet> AvailableInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kBaseline};
#if defined(__x86_64__)
  // What the loops are compiled for (vector_kernels.cc).
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (avx2) sets.push_back(InstructionSet::kAvx2);
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    sets.push_back(InstructionSet::kAvx512);
  }
#endif
  return sets;
}

absl::Status ChooseInstructionSet(const std::string& choice) {
  const std::vector<InstructionSet> available = AvailableInstructionSets();
  if (choice == "auto") {
    Use(available.back());
    return absl::OkStatus();
  }
  for (const Entry& entry : kEntries) {
    if (choice != entry.name) continue;
    if (std::find(available.begin(), available.end(), entry.set) == available.end()) {
      const std::string names = absl::StrJoin(
          available, ", ", [](std::string* out, InstructionSet set) { *out += InstructionSetName(set); });
      return MakeError(absl::StatusCode::kFailedPrecondition, "INSTRUCTION_SET_UNAVAILABLE",
                       absl::StrCat("--instruction-set ", choice, ": this machine has only ", names));
    }
    Use(entry.set);
    return absl::OkStatus();
  }
  return InvalidFields(
      {{"--instruction-set", absl::StrCat("\"", choice, "\" is not auto, avx512, avx2 or baseline")}});
}

InstructionSet CurrentInstructionSet() {
  if (chosen == nullptr) {
    [[maybe_unused]] static const bool once = (Use(AvailableInstructionSets().back()), true);
  }
  return chosen.load()->set;
}

std::string CpuDeterminism() {
#if defined(__x86_64__)
  const std::string vendor = CpuVendor(), name = InstructionSetName(CurrentInstructionSet());
  return vendor == "GenuineIntel" ? name : absl::StrCat(name, "-", vendor);
#else
  return "generic";
#endif
}

}  // namespace quantmoe
