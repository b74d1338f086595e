#include "base/interruption.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

#include "base/clock.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kStep = absl::Milliseconds(50);

thread_local const InterruptionScope* innermost = nullptr;

}  // namespace

InterruptionScope::InterruptionScope(InterruptionCheck check) : check_(std::move(check)), outer_(innermost) {
  innermost = this;
}

InterruptionScope::~InterruptionScope() { innermost = outer_; }

absl::Status InterruptionScope::Check() const {
  RETURN_IF_ERROR(check_());
  return outer_ == nullptr ? absl::OkStatus() : outer_->Check();
}

absl::Status CheckInterrupted() { return innermost == nullptr ? absl::OkStatus() : innermost->Check(); }

absl::Status SleepUnlessInterrupted(absl::Duration duration) {
  const absl::Duration until = Clock::Real().Monotonic() + duration;
  while (true) {
    RETURN_IF_ERROR(CheckInterrupted());
    const absl::Duration left = until - Clock::Real().Monotonic();
    if (left <= absl::ZeroDuration()) return absl::OkStatus();
    absl::SleepFor(std::min(left, kStep));
  }
}

}  // namespace quantmoe
