#include "base/timed_wait.h"

#include <thread>

#include <gtest/gtest.h>

namespace quantmoe {
namespace {

TEST(TimedWaitTest, SeesAConditionThatHoldsAtOnce) {
  absl::Mutex mutex;
  TimedWait wait;
  absl::MutexLock lock(&mutex);
  EXPECT_TRUE(wait.AwaitFor(mutex, absl::ZeroDuration(), [] { return true; }));
}

TEST(TimedWaitTest, EndsWhenItsTimeIsUp) {
  absl::Mutex mutex;
  TimedWait wait;
  absl::MutexLock lock(&mutex);
  EXPECT_FALSE(wait.AwaitFor(mutex, absl::Milliseconds(5), [] { return false; }));
  EXPECT_FALSE(wait.AwaitFor(mutex, -absl::InfiniteDuration(), [] { return false; }));
}

TEST(TimedWaitTest, EndsWhenSomebodyNotifies) {
  absl::Mutex mutex;
  TimedWait wait;
  bool ready = false;
  std::thread other([&] {
    NotifyingLock lock(&mutex, &wait);
    ready = true;
  });
  {
    absl::MutexLock lock(&mutex);
    EXPECT_TRUE(wait.AwaitFor(mutex, absl::InfiniteDuration(), [&] { return ready; }));
  }
  other.join();
}

}  // namespace
}  // namespace quantmoe
