#include "base/crash_point.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace quantmoe {
namespace {

constexpr int kKilledExitCode = 137;

struct Trigger {
  std::string name;
  int nth = 1;
};

Trigger ReadTrigger() {
  const char* text = std::getenv("QUANTMOE_CRASH_AT");
  if (text == nullptr) return {};
  std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  Trigger trigger{parts.first};
  if (!absl::SimpleAtoi(parts.second, &trigger.nth)) trigger.nth = 1;
  return trigger;
}

}  // namespace

void CrashPoint(absl::string_view name) {
  static const Trigger& trigger = *new Trigger(ReadTrigger());
  static std::atomic<int> passages{0};
  if (trigger.name.empty() || name != trigger.name) return;
  if (++passages == trigger.nth) _exit(kKilledExitCode);
}

}  // namespace quantmoe
