#include "client/text/progress_view.h"

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client/text/format.h"
#include "tests/client/golden.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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

v1::JobEvent Task(int64_t seq, int64_t seconds, v1::TaskChanged::Outcome outcome, double took = 1) {
  v1::JobEvent event;
  event.set_seq(seq);
  event.mutable_time()->set_seconds(kStart + seconds);
  v1::TaskChanged& task = *event.mutable_task_changed();
  task.set_task("solve-1");
  task.set_stage("solve");
  task.set_outcome(outcome);
  task.set_seconds(took);
  return event;
}

TEST(ProgressViewTest, OneLineForEachTenthOfAStage) {
  HandClock clock;
  ProgressView view(clock);
  view.Begin(StartedJob(), 0);
  view.ApplyEvent(State(0, v1::Job::RUNNING));
  view.ApplyEvent(Progress(0, 0, 100));
  view.ApplyEvent(Progress(1, 0, 100, 1));
  int lines = 0;
  for (int done = 1; done <= 100; ++done) {
    view.ApplyEvent(Task(done + 1, done, v1::TaskChanged::COMMITTED));
    view.ApplyEvent(Progress(done, done, 100, 1));
    lines += static_cast<int>(view.TakeLines().size());
  }
  EXPECT_EQ(lines, 1 + 1 + 10) << "the state, the start, and ten tenths";
  view.ApplyEvent(Progress(200, 100, 100));
  EXPECT_THAT(view.TakeLines(), IsEmpty());
}

TEST(ProgressViewTest, SaysRateTimeLeftAndElapsed) {
  HandClock clock;
  ProgressView view(clock);
  view.Begin(StartedJob(), 0);
  view.ApplyEvent(Progress(0, 0, 80));
  view.ApplyEvent(Progress(0, 0, 80, 2));
  view.ApplyEvent(Progress(20, 44, 80, 2, 4));
  // 40 computed tasks in 20 s: 2 a second, and 36 are left.
  const std::string line = view.Bars(200).at(1);
  EXPECT_THAT(line, HasSubstr("44/80  4 cached  2 running  2.0/s  0:18 left  0:20 elapsed"));
  clock.since_start = absl::Seconds(20);
  EXPECT_THAT(view.Bars(200).at(1), HasSubstr("0:40 elapsed")) << "time goes on between events";
}

TEST(ProgressViewTest, NoTimeLeftIsInvented) {
  HandClock clock;
  ProgressView view(clock);
  view.Begin(StartedJob(), 0);
  view.ApplyEvent(Progress(0, 0, 80));
  view.ApplyEvent(Progress(0, 0, 80, 2));
  view.ApplyEvent(Progress(20, 1, 80, 2));
  EXPECT_THAT(view.Bars(200).at(1), Not(HasSubstr("left"))) << "one task is no rate";
  view.ApplyEvent(Progress(40, 40, 80, 0));
  EXPECT_THAT(view.Bars(200).at(1), Not(HasSubstr("left"))) << "nothing runs";
}

// Attached after nine minutes: the stage began when its first task did, not when the watch or the job did.
TEST(ProgressViewTest, ALateWatchTellsTheRightTimes) {
  HandClock clock;
  ProgressView view(clock);
  v1::Job job = StartedJob();
  job.set_last_event_seq(3);
  *job.mutable_progress() = Progress(0, 2, 4, 1).progress();
  view.Begin(job, 0);
  view.ApplyEvent(Progress(540, 2, 4, 1));
  view.ApplyEvent(State(0, v1::Job::RUNNING));
  view.ApplyEvent(Task(2, 310, v1::TaskChanged::COMMITTED, 10));
  view.ApplyEvent(Task(3, 320, v1::TaskChanged::COMMITTED, 10));
  EXPECT_THAT(view.TakeLines(), ElementsAre("job RUNNING", "solve      25%  1/4  0:10 elapsed",
                                            "solve      50%  2/4  0:20 elapsed"))
      << "in the order in which it happened, though the counts came first";
  EXPECT_THAT(view.Bars(200).at(1), HasSubstr("2/4  1 running  4:00 elapsed")) << "from 5:00 to 9:00";
}

TEST(ProgressViewTest, WhatIsNotKnownOfALateWatchIsNotTold) {
  HandClock clock;
  ProgressView view(clock);
  v1::Job job = StartedJob();
  *job.mutable_progress() = Progress(0, 0, 4, 1).progress();
  view.Begin(job, 0);
  view.ApplyEvent(Progress(540, 0, 4, 1));
  EXPECT_THAT(view.Bars(200).at(1), Not(HasSubstr("elapsed")))
      << "when the stage began is not in the log yet";
}

TEST(ProgressViewTest, TheEndComesAfterTheLastStages) {
  HandClock clock;
  ProgressView view(clock);
  view.Begin(StartedJob(), 0);
  view.ApplyEvent(Task(1, 5, v1::TaskChanged::COMMITTED, 5));
  v1::JobEvent end = State(6, v1::Job::SUCCEEDED);
  end.set_seq(2);
  view.ApplyEvent(end);
  EXPECT_THAT(view.TakeLines(), IsEmpty()) << "no total of the stage came yet";
  v1::Job job = StartedJob();
  job.set_state(v1::Job::SUCCEEDED);
  *job.mutable_progress() = Progress(0, 1, 1).progress();
  view.ApplyJob(job);
  EXPECT_THAT(view.TakeLines(), ElementsAre("solve     100%  1/1  0:05 elapsed", "job SUCCEEDED"));
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
  EXPECT_THAT(view.TakeFailures(), ElementsAre("solve  jobs/a/tasks/solve-1  LOST on w\\u001b[1"))
      << "what was given back is no failure";
  EXPECT_THAT(view.TakeLines(), IsEmpty());
}

TEST(ProgressViewTest, AFailedAttemptIsShownWhileNothingElseHappens) {
  HandClock clock;
  ProgressView view(clock);
  view.ApplyEvent(Task(1, 0, v1::TaskChanged::LOST));
  view.Tick();
  EXPECT_THAT(view.TakeFailures(), IsEmpty()) << "it may yet turn out to have ended the job";
  clock.since_start = absl::Seconds(1);
  view.Tick();
  EXPECT_THAT(view.TakeFailures(), ElementsAre(HasSubstr("LOST")));
}

TEST(ProgressViewTest, WhatEndedTheJobIsLeftToTheOutcome) {
  HandClock clock;
  ProgressView view(clock);
  v1::JobEvent event = Task(1, 0, v1::TaskChanged::FAILED, 0);
  event.mutable_task_changed()->mutable_error()->set_code(13);
  event.mutable_task_changed()->mutable_error()->set_message("no luck");
  view.ApplyEvent(event);
  view.ApplyEvent(event);
  EXPECT_THAT(view.TakeLines(), ElementsAre("solve  solve-1  FAILED: INTERNAL: no luck"));
  v1::JobEvent end = State(0, v1::Job::FAILED);
  end.mutable_state_changed()->set_reason("task solve-1: no luck");
  view.ApplyEvent(end);
  v1::Job job = StartedJob();
  job.set_state(v1::Job::FAILED);
  job.set_state_reason("task solve-1: no luck");
  view.ApplyJob(job);
  EXPECT_THAT(view.TakeLines(), ElementsAre("solve  solve-1  FAILED", "job FAILED"));
}

TEST(ProgressViewTest, TheReasonOfAWaitIsWrappedAndNeverCutInAWord) {
  HandClock clock;
  ProgressView view(clock);
  v1::Job job = StartedJob();
  job.set_state_reason("no worker is connected; 2 died while running solve-l0-p0: signal 11");
  view.Begin(job, 0);
  EXPECT_THAT(view.Bars(40),
              ElementsAre("jobs/a  RUNNING  0 workers  0:00", "  no worker is connected; 2 died while",
                          "  running solve-l0-p0: signal 11"));
}

TEST(ProgressViewTest, ColoursSayTheState) {
  HandClock clock;
  ProgressView view(clock, Palette(/*colors=*/true));
  view.Begin(StartedJob(), 0);
  EXPECT_THAT(view.Bars(80).front(), HasSubstr("\x1b[36mRUNNING\x1b[0m"));
}

TEST(ProgressViewTest, BarsFitTheTerminal) {
  HandClock clock;
  ProgressView view(clock);
  view.Begin(StartedJob(), 0);
  view.ApplyEvent(Progress(0, 0, 80));
  view.ApplyEvent(Progress(0, 0, 80, 2));
  for (int seq = 1; seq <= 44; ++seq) view.ApplyEvent(Task(seq, 30, v1::TaskChanged::COMMITTED, 0.1));
  view.ApplyEvent(Progress(30, 44, 80, 2, 4));
  for (const std::string& line : view.Bars(40)) EXPECT_LE(DisplayWidth(line), 40);
  ExpectGolden("progress.txt",
               absl::StrJoin(view.Bars(100), "\n") + "\n" + absl::StrJoin(view.TakeLines(), "\n") + "\n");
}

}  // namespace
}  // namespace quantmoe
