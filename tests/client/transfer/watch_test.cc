#include "client/transfer/watch.h"

#include "tests/client/fake_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;

class Recorder : public WatchObserver {
 public:
  void OnEvent(const v1::JobEvent& event) override { seen.push_back(event.seq()); }
  void OnConnectionLost(const absl::Status&) override { ++lost; }
  bool Detached() override { return detach_after >= 0 && static_cast<int>(seen.size()) >= detach_after; }

  std::vector<int64_t> seen;
  int lost = 0;
  int detach_after = -1;
};

class WatchTest : public ::testing::Test {
 protected:
  WatchTest() {
    for (int64_t seq = 1; seq <= 6; ++seq) {
      v1::JobEvent event;
      event.set_seq(seq);
      event.mutable_state_changed()->set_state(seq == 6 ? v1::Job::SUCCEEDED : v1::Job::RUNNING);
      server_.jobs.log.push_back(event);
    }
  }

  absl::StatusOr<v1::Job::State> Follow(absl::Duration worker_patience = absl::Seconds(15)) {
    WatchOptions options;
    options.job = "jobs/a";
    options.worker_patience = worker_patience;
    return FollowJob(*server_.Connect(), options, recorder_);
  }

  FakeServer server_;
  Recorder recorder_;
};

TEST_F(WatchTest, EndsWithTheStateOfTheJob) {
  EXPECT_THAT(Follow(), IsOkAndHolds(v1::Job::SUCCEEDED));
  EXPECT_THAT(recorder_.seen, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(WatchTest, ResumesAfterBrokenStreamsWithoutGapOrRepeat) {
  server_.jobs.stream_lengths = {2, 0, 3};
  server_.jobs.repeat = 1;
  EXPECT_THAT(Follow(), IsOkAndHolds(v1::Job::SUCCEEDED));
  EXPECT_THAT(recorder_.seen, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(server_.jobs.cursors, ElementsAre(0, 2, 2, 4));
  EXPECT_EQ(recorder_.lost, 3);
}

TEST_F(WatchTest, AStreamThatEndsBeforeTheJobIsResumed) {
  const v1::JobEvent last = server_.jobs.log.back();
  server_.jobs.log.pop_back();
  recorder_.detach_after = 5;
  EXPECT_THAT(Follow(), IsOkAndHolds(v1::Job::STATE_UNSPECIFIED));
  server_.jobs.log.push_back(last);
  recorder_ = Recorder();
  EXPECT_THAT(Follow(), IsOkAndHolds(v1::Job::SUCCEEDED));
}

TEST_F(WatchTest, DetachingLeavesAQuietStream) {
  server_.jobs.log.resize(2);
  server_.jobs.never_end = true;
  recorder_.detach_after = 2;
  EXPECT_THAT(Follow(), IsOkAndHolds(v1::Job::STATE_UNSPECIFIED));
}

TEST_F(WatchTest, AGapIsAnError) {
  server_.jobs.log.erase(server_.jobs.log.begin() + 3);
  EXPECT_THAT(Follow(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(recorder_.seen, ElementsAre(1, 2, 3));
}

v1::JobEvent Waiting(v1::Waiting::Cause cause) {
  v1::JobEvent event;
  event.mutable_waiting()->set_cause(cause);
  event.mutable_waiting()->set_reason("no worker is connected; 2 died while running solve-l0-p0: a, b");
  return event;
}

TEST_F(WatchTest, EndsWhenTheWorkersHaveDiedAndNoneComes) {
  server_.jobs.notices = {Waiting(v1::Waiting::WORKERS_DIED)};
  server_.jobs.log.resize(2);
  server_.jobs.never_end = true;
  const absl::StatusOr<v1::Job::State> end = Follow(/*worker_patience=*/absl::Milliseconds(1));
  EXPECT_THAT(end.status(), HasReason("NO_WORKER_LEFT"));
  EXPECT_EQ(end.status().message(), "jobs/a: no worker is connected; 2 died while running solve-l0-p0: a, b");
}

TEST_F(WatchTest, GoesOnWhenWorkersAreMissingAndNoneDied) {
  server_.jobs.notices = {Waiting(v1::Waiting::NO_WORKER)};
  EXPECT_THAT(Follow(/*worker_patience=*/absl::ZeroDuration()), IsOkAndHolds(v1::Job::SUCCEEDED));
}

TEST_F(WatchTest, GoesOnWhenAWorkerCameInTime) {
  server_.jobs.notices = {Waiting(v1::Waiting::WORKERS_DIED), Waiting(v1::Waiting::CAUSE_UNSPECIFIED)};
  EXPECT_THAT(Follow(/*worker_patience=*/absl::Seconds(15)), IsOkAndHolds(v1::Job::SUCCEEDED));
}

TEST_F(WatchTest, GivesUpWhenTheServerStaysAway) {
  server_.jobs.stream_lengths = std::vector<size_t>(100000, 0);
  WatchOptions options;
  options.job = "jobs/a";
  options.give_up_after = absl::Milliseconds(20);
  EXPECT_THAT(FollowJob(*server_.Connect(), options, recorder_), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace quantmoe
