#include "server/loop/commit_loop.h"

#include <atomic>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/server/loop/memory_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

class CommitLoopTest : public testing::Test {
 protected:
  CommitLoopTest() {
    loop_.Start({.tick = [] {},
                 .after_operations = [] {},
                 .before_commit = [] {},
                 .after_reload = [this] { ++reloads_; },
                 .news = [](const std::set<std::string>&) {}},
                /*tick_interval=*/absl::Hours(1));
  }
  ~CommitLoopTest() override { loop_.Stop(); }

  JobCreated Created(const std::string& id, int64_t number) {
    JobCreated created;
    created.record.set_id(id);
    created.record.set_create_number(number);
    return created;
  }
  // Applies an event on the loop and waits for the result of its commit.
  absl::Status Apply(const JobCreated& event) {
    absl::Status result;
    absl::Notification done;
    loop_.Post([&] {
      facts_.Apply(event);
      loop_.AfterCommit([&](const absl::Status& committed) {
        result = committed;
        done.Notify();
      });
    });
    EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
    return result;
  }
  std::vector<std::string> Jobs() {
    std::vector<std::string> ids;
    absl::Notification done;
    loop_.Post([&] {
      for (const auto& [id, job] : facts_.table().jobs()) ids.push_back(id);
      done.Notify();
    });
    EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
    return ids;
  }

  FakeClock clock_;
  MemoryStore store_;
  Metrics metrics_{"0", /*term=*/1};
  FactsRecorder facts_{store_, clock_};
  std::atomic<int> reloads_{0};
  CommitLoop loop_{store_, facts_, metrics_};
};

TEST_F(CommitLoopTest, WhatClientsAskForIsRefusedWhenTooMuchWaits) {
  absl::Notification running, go_on;
  loop_.Post([&] {
    running.Notify();
    go_on.WaitForNotificationWithTimeout(absl::Seconds(60));
  });
  ASSERT_TRUE(running.WaitForNotificationWithTimeout(absl::Seconds(30)));
  std::atomic<int> ran = 0;
  int taken = 0;
  while (taken < 100'000 && loop_.Offer([&] { ++ran; })) ++taken;
  EXPECT_EQ(taken, 4096);
  absl::Notification ended;
  loop_.Post([&] { ended.Notify(); });  // what runs already must be able to end
  go_on.Notify();
  ASSERT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_EQ(ran, taken) << "all that was taken";
  EXPECT_TRUE(loop_.Offer([] {}));
}

TEST_F(CommitLoopTest, WhatIsOfferedAfterTheStopNeverRunsAndIsNotRefusedAsTooMuch) {
  loop_.Stop();
  bool ran = false;
  EXPECT_TRUE(loop_.Offer([&] { ran = true; }));
  EXPECT_FALSE(ran);
}

TEST_F(CommitLoopTest, AFailedBatchLeavesTheFactsOfTheStore) {
  EXPECT_OK(Apply(Created("stored", 1)));
  store_.FailNextCommit(MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room"));
  EXPECT_THAT(Apply(Created("refused", 2)),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("STORE_UNAVAILABLE")));
  EXPECT_EQ(reloads_, 1);
  EXPECT_THAT(Jobs(), testing::ElementsAre("stored"));
  EXPECT_OK(Apply(Created("later", 2)));
  EXPECT_THAT(Jobs(), testing::ElementsAre("later", "stored"));
}

}  // namespace
}  // namespace quantmoe
