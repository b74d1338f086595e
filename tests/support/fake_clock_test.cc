#include "tests/support/fake_clock.h"

#include "gtest/gtest.h"

namespace quantmoe {
namespace {

TEST(FakeClock, BothTimesMoveTogetherAndOnlyByHand) {
  FakeClock clock(absl::FromUnixSeconds(100));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));
  const absl::Duration before = clock.Monotonic();
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105));
  EXPECT_EQ(clock.Monotonic() - before, absl::Seconds(5));
}

TEST(RealClock, NeverGoesBack) {
  const absl::Duration before = Clock::Real().Monotonic();
  EXPECT_GE(Clock::Real().Monotonic(), before);
  EXPECT_GT(Clock::Real().Now(), absl::FromUnixSeconds(1'600'000'000));
}

}  // namespace
}  // namespace quantmoe
