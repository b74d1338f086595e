#include "base/interruption.h"

#include <thread>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using absl::StatusCode;

TEST(InterruptionTest, NothingIsInterruptedWhereNobodySaysHow) {
  EXPECT_OK(CheckInterrupted());
  EXPECT_OK(SleepUnlessInterrupted(absl::Milliseconds(1)));
}

TEST(InterruptionTest, InnerAndOuterScopesCount) {
  bool caller_gone = false, stopping = false;
  const InterruptionScope outer(
      [&] { return stopping ? absl::UnavailableError("stops") : absl::OkStatus(); });
  {
    const InterruptionScope inner(
        [&] { return caller_gone ? absl::CancelledError("gone") : absl::OkStatus(); });
    EXPECT_OK(CheckInterrupted());
    stopping = true;
    EXPECT_THAT(CheckInterrupted(), StatusIs(StatusCode::kUnavailable));
    caller_gone = true;
    EXPECT_THAT(CheckInterrupted(), StatusIs(StatusCode::kCancelled));
    std::thread([] { EXPECT_OK(CheckInterrupted()); }).join();
  }
  EXPECT_THAT(CheckInterrupted(), StatusIs(StatusCode::kUnavailable));
}

TEST(InterruptionTest, ASleepEndsEarly) {
  int asked = 0;
  const InterruptionScope scope(
      [&] { return ++asked > 2 ? absl::CancelledError("gone") : absl::OkStatus(); });
  EXPECT_THAT(SleepUnlessInterrupted(absl::Hours(1)), StatusIs(StatusCode::kCancelled));
}

}  // namespace
}  // namespace quantmoe
