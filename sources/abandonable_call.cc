#include "sources/abandonable_call.h"

#include <atomic>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

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

absl::Status RunUnlessInterrupted(std::function<void()> call) {
  if (!CanBeInterrupted()) {
    call();
    return absl::OkStatus();
  }
  const auto running = std::make_shared<Running>();
  std::thread([running, call = std::move(call)] {
    call();
    Finish(*running);
  }).detach();
  absl::MutexLock lock(&running->mutex);
  const auto done = [&running]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(running->mutex) { return running->done; };
  while (!running->changed.AwaitFor(running->mutex, kPoll, done)) {
    const absl::Status interrupted = CheckInterrupted();
    if (interrupted.ok()) continue;
    running->given_up = true;
    ++abandoned;
    return interrupted;
  }
  return absl::OkStatus();
}

int AbandonedCalls() { return abandoned; }

}  // namespace quantmoe
