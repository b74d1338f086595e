#include "base/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include <sys/resource.h>

namespace quantmoe {
namespace {

// The value of a "Name:   123 kB" line of a file under /proc, in bytes; 0 when it is missing.
int64_t ReadKibibytesLine(const char* path, absl::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, name)) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words.size() < 2 || !absl::SimpleAtoi(words[1], &kibibytes)) return 0;
    return kibibytes * 1024;
  }
  return 0;
}

// A number alone in a file; "max" and missing files give `fallback`.
int64_t ReadNumber(const char* path, int64_t fallback) {
  std::ifstream file(path);
  std::string text;
  int64_t value = 0;
  return file >> text && absl::SimpleAtoi(text, &value) ? value : fallback;
}

int64_t ControlGroupFreeBytes() {
  constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
  const int64_t limit = ReadNumber("/sys/fs/cgroup/memory.max", kUnlimited);
  if (limit == kUnlimited) return kUnlimited;
  return std::max<int64_t>(0, limit - ReadNumber("/sys/fs/cgroup/memory.current", 0));
}

}  // namespace

int64_t AvailableMemoryBytes() {
  return std::min(ReadKibibytesLine("/proc/meminfo", "MemAvailable:"), ControlGroupFreeBytes());
}

int64_t ResidentMemoryBytes() { return ReadKibibytesLine("/proc/self/status", "VmRSS:"); }

int64_t PeakMemoryBytes() { return ReadKibibytesLine("/proc/self/status", "VmHWM:"); }

void ResetPeakMemory() {
  // 5 sets the peak to the current size; see proc(5).
  std::ofstream("/proc/self/clear_refs") << "5";
}

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace quantmoe
