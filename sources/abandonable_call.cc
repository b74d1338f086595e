#include "sources/abandonable_call.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "base/clock.h"
#include "base/interruption.h"
#include "base/timed_wait.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(50);

std::atomic<int> abandoned{0};

struct Running {
  absl::Mutex mutex;
  TimedWait changed;
  bool done ABSL_GUARDED_BY(mutex) = false;
  bool given_up ABSL_GUARDED_BY(mutex) = false;
};

void Finish(Running& running) {
  NotifyingLock lock(&running.mutex, &running.changed);
  running.done = true;
  if (running.given_up) --abandoned;
}

}  // namespace

absl::Status RunUnlessInterrupted(absl::Duration limit, std::function<void()> call) {
  const absl::Duration until = Clock::Real().Monotonic() + limit;
  const auto running = std::make_shared<Running>();
  std::thread([running, call = std::move(call)] {
    call();
    Finish(*running);
  }).detach();
  absl::MutexLock lock(&running->mutex);
  const auto done = [&running]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(running->mutex) { return running->done; };
  while (!running->changed.AwaitFor(running->mutex, kPoll, done)) {
    absl::Status end = CheckInterrupted();
    if (end.ok() && Clock::Real().Monotonic() >= until) {
      end = absl::DeadlineExceededError(absl::StrCat("no answer within ", absl::FormatDuration(limit)));
    }
    if (end.ok()) continue;
    running->given_up = true;
    ++abandoned;
    return end;
  }
  return absl::OkStatus();
}

int AbandonedCalls() { return abandoned; }

int ExitCodeOrEnd(int code) {
  if (AbandonedCalls() == 0) return code;
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace quantmoe
