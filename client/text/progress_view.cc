#include "client/text/progress_view.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "client/text/resource_text.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

constexpr int kBarColumns = 24;
// The attempt that ends a job and the end of that job are committed together: what comes later did not end
// it.
constexpr absl::Duration kFailureDelay = absl::Milliseconds(300);
// Tasks of a stage differ, and the first ones also load the model: a rate from fewer is no estimate.
constexpr int kTasksForEstimate = 4;

int Percent(int done, int total) { return total == 0 ? 0 : static_cast<int>(int64_t{100} * done / total); }

std::string RateText(double per_second) {
  if (per_second >= 1) return absl::StrFormat("%.1f/s", per_second);
  return absl::StrFormat("%.1f/min", per_second * 60);
}

// A part of a line, with how gladly it is given up where there is no room: the largest goes first.
struct Field {
  std::string text;
  int expendable;
};

// The fields that fit, in their order. The first always stays.
std::vector<std::string> FittingFields(std::vector<Field> fields, int columns) {
  const auto width = [&fields] {
    int total = 0;
    for (const Field& field : fields) total += DisplayWidth(field.text) + 2;
    return total - 2;
  };
  while (fields.size() > 1 && width() > columns) {
    fields.erase(std::max_element(fields.begin() + 1, fields.end(), [](const Field& a, const Field& b) {
      return a.expendable < b.expendable;
    }));
  }
  std::vector<std::string> texts;
  for (Field& field : fields) texts.push_back(std::move(field.text));
  return texts;
}

}  // namespace

void ProgressView::SetNow(absl::Time time) {
  if (time < event_time_) return;
  event_time_ = time;
  event_received_ = clock_.Monotonic();
}

absl::Time ProgressView::Now() const { return event_time_ + (clock_.Monotonic() - event_received_); }

void ProgressView::Begin(const v1::Job& job, int64_t after_seq) {
  history_end_ = job.last_event_seq();
  in_history_ = after_seq < history_end_;
  ApplyJob(job);
}

void ProgressView::ApplyJob(const v1::Job& job) {
  const bool ended = IsTerminal(job.state());
  FlushFailure(/*ended_the_job=*/job.state() == v1::Job::FAILED);
  name_ = job.name();
  if (job.has_create_time()) job_start_ = ToTime(job.create_time());
  for (const auto* time : {&job.create_time(), &job.start_time(), &job.finish_time()}) SetNow(ToTime(*time));
  TakeProgress(job.progress(), /*live=*/false);
  const bool told = std::exchange(state_, job.state()) == job.state() && !ended;
  reason_ = job.state() == v1::Job::FAILED ? "" : job.state_reason();
  if (!ended || told) return;
  v1::JobEvent end;
  end.mutable_state_changed()->set_state(job.state());
  end.mutable_state_changed()->set_reason(reason_);
  lines_.push_back(EventLine(end));
}

void ProgressView::ApplyEvent(const v1::JobEvent& event) {
  const absl::Time time = ToTime(event.time());
  SetNow(time);
  if (!event.has_heartbeat())
    FlushFailure(/*ended_the_job=*/event.state_changed().state() == v1::Job::FAILED);
  if (event.has_progress()) TakeProgress(event.progress(), /*live=*/true);
  if (event.has_task_changed()) ApplyTask(event.task_changed(), time);
  if (event.has_waiting()) ApplyWaiting(event);
  if (event.has_state_changed()) ApplyState(event.state_changed());
  if (event.seq() >= history_end_) in_history_ = false;
}

void ProgressView::ApplyState(const v1::StateChanged& change) {
  // The totals that the last lines of the stages need come with the job.
  if (IsTerminal(change.state())) return;
  state_ = change.state();
  reason_ = change.reason();
  v1::JobEvent event;
  *event.mutable_state_changed() = change;
  lines_.push_back(EventLine(event));
}

void ProgressView::ApplyWaiting(const v1::JobEvent& event) {
  reason_ = event.waiting().reason();
  if (waiting_ == reason_) return;
  waiting_ = reason_;
  lines_.push_back(EventLine(event));
}

void ProgressView::TakeProgress(const v1::Progress& progress, bool live) {
  workers_ = progress.workers();
  for (const v1::StageProgress& next : progress.stages()) {
    const auto [found, is_new] = stages_.try_emplace(next.stage());
    if (is_new) order_.push_back(next.stage());
    Stage& stage = found->second;
    const bool was_idle = stage.progress.tasks_running() + stage.progress.tasks_done() == 0;
    stage.progress = next;
    if (live && was_idle && !stage.start && next.tasks_running() > 0) {
      stage.start = Now();
      Announce(stage, 0);
    }
    AnnounceLogged(stage);
  }
}

void ProgressView::ApplyTask(const v1::TaskChanged& task, absl::Time time) {
  const auto [found, is_new] = stages_.try_emplace(task.stage());
  Stage& stage = found->second;
  if (is_new) {
    stage.progress.set_stage(task.stage());
    order_.push_back(task.stage());
  }
  const absl::Time began = time - absl::Seconds(task.seconds());
  stage.start = stage.start ? std::min(*stage.start, began) : began;
  stage.last_task = stage.last_task ? std::max(*stage.last_task, time) : time;
  if (task.outcome() == v1::TaskChanged::COMMITTED || task.outcome() == v1::TaskChanged::CACHED) {
    ++stage.logged;
    AnnounceLogged(stage);
  } else if (task.outcome() == v1::TaskChanged::FAILED || task.outcome() == v1::TaskChanged::LOST) {
    failed_ = {task, clock_.Monotonic()};
  }
}

void ProgressView::Announce(const Stage& stage, int done) {
  const int percent = Percent(done, stage.progress.tasks_total());
  lines_.push_back(absl::StrFormat("%-9s %3d%%  %s", Printable(stage.progress.stage()), percent,
                                   absl::StrJoin(Numbers(stage, done, /*columns=*/200), "  ")));
}

void ProgressView::AnnounceLogged(Stage& stage) {
  const int total = stage.progress.tasks_total();
  // A watch that skipped events has not counted their tasks; the server has.
  const int done =
      std::min(in_history_ ? stage.logged : std::max(stage.logged, stage.progress.tasks_done()), total);
  const int tenths = Percent(done, total) / 10;
  if (total == 0 || tenths == stage.announced_tenths) return;
  stage.announced_tenths = tenths;
  Announce(stage, done);
}

void ProgressView::FlushFailure(bool ended_the_job) {
  if (!failed_) return;
  v1::JobEvent event;
  *event.mutable_task_changed() = std::exchange(failed_, std::nullopt)->task;
  if (ended_the_job) event.mutable_task_changed()->clear_error();
  lines_.push_back(EventLine(event));
  failures_.push_back(lines_.back());
}

void ProgressView::Tick() {
  if (failed_ && clock_.Monotonic() - failed_->seen >= kFailureDelay) FlushFailure(/*ended_the_job=*/false);
}

absl::Duration ProgressView::Elapsed(const Stage& stage) const {
  const int total = stage.progress.tasks_total();
  const bool ended = total > 0 && (stage.progress.tasks_done() == total || stage.logged >= total);
  return (ended || in_history_ ? stage.last_task.value_or(Now()) : Now()) - *stage.start;
}

// "32/80  4 cached  2 running  1.3/s  0:37 left  0:24 elapsed", without what is not known or does not fit.
std::vector<std::string> ProgressView::Numbers(const Stage& stage, int done, int columns) const {
  const v1::StageProgress& progress = stage.progress;
  const int total = progress.tasks_total();
  std::vector<Field> fields = {{absl::StrCat(done, "/", total), 0}};
  if (progress.tasks_cached() > 0) fields.push_back({absl::StrCat(progress.tasks_cached(), " cached"), 4});
  if (progress.tasks_running() > 0 && !in_history_) {
    fields.push_back({absl::StrCat(progress.tasks_running(), " running"), 2});
  }
  if (!stage.start) return FittingFields(std::move(fields), columns);
  const double seconds = absl::ToDoubleSeconds(Elapsed(stage));
  const int computed = done - progress.tasks_cached();
  const bool estimable = computed >= kTasksForEstimate && Percent(done, total) >= 10 && seconds > 0;
  if (estimable) {
    fields.push_back({RateText(computed / seconds), 5});
    const absl::Duration left = absl::Seconds((total - done) * seconds / computed);
    const bool goes_on = done < total && progress.tasks_running() > 0 && !in_history_;
    if (goes_on) fields.push_back({absl::StrCat(FormatElapsed(left), " left"), 1});
  }
  fields.push_back({absl::StrCat(FormatElapsed(Elapsed(stage)), " elapsed"), 3});
  return FittingFields(std::move(fields), columns);
}

std::string ProgressView::BarLine(const Stage& stage, int columns) const {
  const v1::StageProgress& progress = stage.progress;
  const int total = progress.tasks_total();
  const double fraction = total > 0 ? static_cast<double>(progress.tasks_done()) / total : 0;
  const std::string name = absl::StrFormat("  %-9s ", Printable(progress.stage()));
  const std::string percent = absl::StrFormat(" %3d%%  ", Percent(progress.tasks_done(), total));
  const int left = columns - DisplayWidth(name) - kBarColumns - DisplayWidth(percent);
  if (left < 1) return Truncate(absl::StrCat(name, percent), columns);
  const std::string numbers = absl::StrJoin(Numbers(stage, progress.tasks_done(), left), "  ");
  const bool done = total > 0 && progress.tasks_done() == total;
  return absl::StrCat(name, palette_.Paint(done ? Style::kGood : Style::kBusy, Bar(fraction, kBarColumns)),
                      percent, Truncate(numbers, left));
}

std::vector<std::string> ProgressView::Bars(int columns) const {
  const std::string state = StateName(state_);
  std::string rest = absl::StrCat("  ", workers_, workers_ == 1 ? " worker" : " workers");
  if (job_start_) absl::StrAppend(&rest, "  ", FormatElapsed(Now() - *job_start_));
  const int left = columns - DisplayWidth(state) - DisplayWidth(rest) - 2;
  std::vector<std::string> lines = {
      absl::StrCat(Truncate(Printable(name_), left), "  ", palette_.Paint(StateStyle(state_), state), rest)};
  for (const std::string& line : Wrap(Printable(reason_), columns - 2)) {
    lines.push_back(absl::StrCat("  ", Truncate(line, columns - 2)));
  }
  for (const std::string& name : order_) lines.push_back(BarLine(stages_.at(name), columns));
  return lines;
}

std::vector<std::string> ProgressView::TakeLines() {
  failures_.clear();
  return std::exchange(lines_, {});
}

std::vector<std::string> ProgressView::TakeFailures() {
  lines_.clear();
  return std::exchange(failures_, {});
}

}  // namespace quantmoe
