#include "server/loop/worker_links.h"

#include <atomic>
#include <memory>

#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/loop/memory_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

class RecordingLink final : public WorkerLink {
 public:
  void Send(v1::CoordinatorMessage) override { ++sent_; }
  void Close(const absl::Status& status) override { closed_with_ = status; }
  absl::Duration heard_at() const override { return absl::ZeroDuration(); }

  int sent() const { return sent_; }
  const absl::Status& closed_with() const { return closed_with_; }

 private:
  int sent_ = 0;
  absl::Status closed_with_;
};

class WorkerLinksTest : public testing::Test {
 protected:
  WorkerLinksTest() {
    loop_.Start({.tick = [] {},
                 .after_operations = [] {},
                 .before_commit = [] {},
                 .after_reload = [] {},
                 .news = [](const std::set<std::string>&) {}},
                /*tick_interval=*/absl::Hours(1));
  }
  ~WorkerLinksTest() override { loop_.Stop(); }

  // A worker whose welcome is part of the batch that the store answers with `answer`.
  void Welcome(absl::Status answer) {
    store_.FailNextCommit(std::move(answer));
    RunOnLoop([this] {
      loop_thread.AssertHeld();
      JobCreated job;
      job.record.set_id("job");
      facts_.Apply(job);
      links_.table()["w"].connected = true;
      links_.Connect("w", link_);
      v1::CoordinatorMessage message;
      message.mutable_welcome();
      links_.Send("w", std::move(message));
    });
  }
  bool IsConnected() {
    bool connected = false;
    RunOnLoop([&] {
      loop_thread.AssertHeld();
      connected = links_.table().at("w").connected;
    });
    return connected;
  }
  void RunOnLoop(const std::function<void()>& operation) {
    absl::Notification done;
    loop_.Post([&] {
      operation();
      loop_.AfterCommit([&](const absl::Status&) { done.Notify(); });
    });
    ASSERT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  }

  FakeClock clock_;
  MemoryStore store_;
  Metrics metrics_{"0", /*term=*/1};
  FactsRecorder facts_{store_, clock_};
  CommitLoop loop_{store_, facts_, metrics_};
  WorkerLinks links_{loop_};
  const std::shared_ptr<RecordingLink> link_ = std::make_shared<RecordingLink>();
};

TEST_F(WorkerLinksTest, AWelcomeIsSentBehindItsCommit) {
  Welcome(absl::OkStatus());
  EXPECT_EQ(link_->sent(), 1);
  EXPECT_TRUE(IsConnected());
}

TEST_F(WorkerLinksTest, AWorkerWhoseWelcomeIsNotCommittedIsSentAwayAndGetsNoTaskMeanwhile) {
  Welcome(absl::InternalError("the disk is gone"));
  EXPECT_EQ(link_->sent(), 0);
  EXPECT_EQ(link_->closed_with().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(IsConnected()) << "its session ends a little later, and whatever it was given would be lost";
}

}  // namespace
}  // namespace quantmoe
