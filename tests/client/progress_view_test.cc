#include "client/progress_view.h"

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client/format.h"
#include "tests/client/golden.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class HandClock : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + since_start; }
  absl::Duration Monotonic() const override { return since_start; }
  absl::Duration since_start;
};

constexpr int64_t kStart = 1'700'000'000;

v1::JobEvent Progress(int64_t seconds, int done, int total, int running = 0, int cached = 0) {
  v1::JobEvent event;
  event.mutable_time()->set_seconds(kStart + seconds);
  event.mutable_progress()->set_workers(2);
  v1::StageProgress& stage = *event.mutable_progress()->add_stages();
  stage.set_stage("solve");
  stage.set_tasks_total(total);
  stage.set_tasks_done(done);
  stage.set_tasks_running(running);
  stage.set_tasks_cached(cached);
  return event;
}

v1::JobEvent State(int64_t seconds, v1::Job::State state) {
  v1::JobEvent event;
  event.set_seq(1);
  event.mutable_time()->set_seconds(kStart + seconds);
  event.mutable_state_changed()->set_state(state);
  return event;
}

v1::Job StartedJob() {
  v1::Job job;
  job.set_name("jobs/a");
  job.set_state(v1::Job::RUNNING);
  job.mutable_create_time()->set_seconds(kStart);
  return job;
}

TEST(ProgressViewTest, OneLineForEachTenthOfAStage) {
  HandClock clock;
  ProgressView view(clock);
  view.ApplyJob(StartedJob());
  view.ApplyEvent(State(0, v1::Job::RUNNING));
  int lines = 0;
  for (int done = 0; done <= 100; ++done) {
    view.ApplyEvent(Progress(done, done, 100, 1));
    lines += static_cast<int>(view.TakeLines().size());
  }
  EXPECT_EQ(lines, 1 + 11);
  view.ApplyEvent(Progress(200, 100, 100));
  EXPECT_THAT(view.TakeLines(), IsEmpty());
}

TEST(ProgressViewTest, SaysRateTimeLeftAndElapsed) {
  HandClock clock;
  ProgressView view(clock);
  view.ApplyJob(StartedJob());
  view.ApplyEvent(Progress(0, 0, 80, 2));
  view.ApplyEvent(Progress(20, 44, 80, 2, 4));
  // 40 computed tasks in 20 s: 2 a second, and 36 are left.
  const std::string line = view.Bars(200).at(1);
  EXPECT_THAT(line, HasSubstr("44/80  4 cached  2 running  2.0/s  0:18 left  0:20 elapsed"));
  clock.since_start = absl::Seconds(20);
  EXPECT_THAT(view.Bars(200).at(1), HasSubstr("0:40 elapsed")) << "time goes on between events";
}

TEST(ProgressViewTest, FailedAttemptsAreShown) {
  HandClock clock;
  ProgressView view(clock);
  v1::JobEvent event;
  v1::TaskChanged& task = *event.mutable_task_changed();
  task.set_task("jobs/a/tasks/solve-1");
  task.set_stage("solve");
  task.set_outcome(v1::TaskChanged::COMMITTED);
  view.ApplyEvent(event);
  task.set_outcome(v1::TaskChanged::LOST);
  task.set_worker("w\x1b[1");
  view.ApplyEvent(event);
  task.set_outcome(v1::TaskChanged::RETURNED);
  view.ApplyEvent(event);
  EXPECT_THAT(view.TakeFailures(), ElementsAre("solve  jobs/a/tasks/solve-1  LOST on w [1"))
      << "what was given back is no failure";
  EXPECT_THAT(view.TakeLines(), IsEmpty());
}

TEST(ProgressViewTest, WhatEndedTheJobIsLeftToTheOutcome) {
  HandClock clock;
  ProgressView view(clock);
  v1::JobEvent event;
  event.mutable_task_changed()->set_stage("solve");
  event.mutable_task_changed()->set_task("solve-1");
  event.mutable_task_changed()->set_outcome(v1::TaskChanged::FAILED);
  event.mutable_task_changed()->mutable_error()->set_code(13);
  event.mutable_task_changed()->mutable_error()->set_message("no luck");
  view.ApplyEvent(event);
  view.ApplyEvent(event);
  EXPECT_THAT(view.TakeLines(), ElementsAre("solve  solve-1  FAILED: INTERNAL: no luck"));
  event.mutable_state_changed()->set_state(v1::Job::FAILED);
  event.mutable_state_changed()->set_reason("task solve-1: no luck");
  event.mutable_state_changed()->mutable_error()->set_message("task solve-1: no luck");
  view.ApplyEvent(event);
  EXPECT_THAT(view.TakeLines(), ElementsAre("solve  solve-1  FAILED", "job FAILED"));
}

TEST(ProgressViewTest, BarsFitTheTerminal) {
  HandClock clock;
  ProgressView view(clock);
  view.ApplyJob(StartedJob());
  view.ApplyEvent(Progress(0, 0, 80, 2));
  view.ApplyEvent(Progress(30, 44, 80, 2, 4));
  for (const std::string& line : view.Bars(40)) EXPECT_LE(DisplayWidth(line), 40);
  ExpectGolden("progress.txt",
               absl::StrJoin(view.Bars(100), "\n") + "\n" + absl::StrJoin(view.TakeLines(), "\n") + "\n");
}

}  // namespace
}  // namespace quantmoe
