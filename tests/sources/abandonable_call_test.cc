#include "sources/abandonable_call.h"

#include <memory>

#include "absl/synchronization/notification.h"

#include "base/interruption.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using absl::StatusCode;

// A call that ends when the test says so, as one to a server that does not answer.
struct Stuck {
  absl::Notification began, may_end, ended;
};

std::function<void()> CallTo(const std::shared_ptr<Stuck>& stuck) {
  return [stuck] {
    stuck->began.Notify();
    stuck->may_end.WaitForNotification();
    stuck->ended.Notify();
  };
}

TEST(AbandonableCall, GivesWhatTheCallGives) {
  std::shared_ptr<int> result;
  EXPECT_OK(GetUnlessInterrupted<int>(
      absl::Minutes(1), [] { return 7; }, result));
  EXPECT_EQ(*result, 7);
}

TEST(AbandonableCall, ACallerThatIsGoneWaitsNoLonger) {
  const auto stuck = std::make_shared<Stuck>();
  const InterruptionScope scope(
      [&stuck] { return stuck->began.HasBeenNotified() ? absl::CancelledError("gone") : absl::OkStatus(); });
  const int before = AbandonedCalls();
  EXPECT_THAT(RunUnlessInterrupted(absl::Hours(1), CallTo(stuck)), StatusIs(StatusCode::kCancelled));
  EXPECT_EQ(AbandonedCalls(), before + 1);
  stuck->may_end.Notify();
  stuck->ended.WaitForNotification();
}

TEST(AbandonableCall, NobodyWaitsBeyondTheLimit) {
  const auto stuck = std::make_shared<Stuck>();
  EXPECT_THAT(RunUnlessInterrupted(absl::Milliseconds(20), CallTo(stuck)),
              StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_FALSE(stuck->ended.HasBeenNotified());
  stuck->may_end.Notify();
  stuck->ended.WaitForNotification();
}

}  // namespace
}  // namespace quantmoe
