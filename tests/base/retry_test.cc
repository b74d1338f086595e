#include "base/retry.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace quantmoe {
namespace {

TEST(Retry, OnlyWhatMaySucceedLaterIsRetried) {
  for (const auto code :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kAborted, absl::StatusCode::kDeadlineExceeded}) {
    EXPECT_TRUE(IsRetryable(absl::Status(code, "")));
  }
  for (const auto code :
       {absl::StatusCode::kOk, absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound,
        absl::StatusCode::kPermissionDenied, absl::StatusCode::kInternal,
        absl::StatusCode::kResourceExhausted, absl::StatusCode::kDataLoss}) {
    EXPECT_FALSE(IsRetryable(absl::Status(code, "")));
  }
}

TEST(Backoff, EveryWaitIsWithinItsCeiling) {
  const BackoffOptions options{absl::Milliseconds(100), absl::Seconds(1), 2.0};
  const std::vector<absl::Duration> ceilings = {absl::Milliseconds(100), absl::Milliseconds(200),
                                                absl::Milliseconds(400), absl::Milliseconds(800),
                                                absl::Seconds(1),        absl::Seconds(1)};
  for (int round = 0; round < 200; ++round) {
    Backoff backoff(options);
    for (const absl::Duration ceiling : ceilings) {
      const absl::Duration wait = backoff.Next();
      EXPECT_GE(wait, absl::ZeroDuration());
      EXPECT_LE(wait, ceiling);
    }
  }
}

TEST(Backoff, WaitsGrowAndSpreadAndResetStartsAgain) {
  Backoff backoff({absl::Milliseconds(100), absl::Seconds(1), 2.0});
  absl::Duration longest, shortest = absl::InfiniteDuration();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration wait = backoff.Next();
    longest = std::max(longest, wait);
    shortest = std::min(shortest, wait);
  }
  EXPECT_GT(longest, absl::Milliseconds(900));
  EXPECT_LT(shortest, absl::Milliseconds(100));
  for (int i = 0; i < 100; ++i) {
    backoff.Reset();
    EXPECT_LE(backoff.Next(), absl::Milliseconds(100));
  }
}

TEST(Backoff, NeverOverflows) {
  Backoff backoff({absl::Hours(1), absl::Hours(2), 1e6});
  for (int i = 0; i < 1000; ++i) EXPECT_LE(backoff.Next(), absl::Hours(2));
}

}  // namespace
}  // namespace quantmoe
