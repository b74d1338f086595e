#include "client/progress_view.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "client/format.h"
#include "client/resource_text.h"

namespace quantmoe {
namespace {

constexpr int kBarColumns = 24;

int Percent(const v1::StageProgress& progress) {
  if (progress.tasks_total() == 0) return 0;
  return static_cast<int>(int64_t{100} * progress.tasks_done() / progress.tasks_total());
}

std::string RateText(double per_second) {
  if (per_second >= 1) return absl::StrFormat("%.1f/s", per_second);
  return absl::StrFormat("%.1f/min", per_second * 60);
}

}  // namespace

void ProgressView::SetNow(absl::Time time) {
  if (time < event_time_) return;
  event_time_ = time;
  event_received_ = clock_.Monotonic();
}

absl::Time ProgressView::Now() const { return event_time_ + (clock_.Monotonic() - event_received_); }

void ProgressView::ApplyJob(const v1::Job& job) {
  FlushFailure(/*ended_the_job=*/job.state() == v1::Job::FAILED);
  name_ = job.name();
  state_ = job.state();
  reason_ = job.state() == v1::Job::FAILED ? "" : job.state_reason();
  if (job.has_create_time()) job_start_ = ToTime(job.create_time());
  for (const auto* time : {&job.create_time(), &job.start_time(), &job.finish_time()}) SetNow(ToTime(*time));
  ApplyProgress(job.progress());
}

void ProgressView::ApplyEvent(const v1::JobEvent& event) {
  const absl::Time time = ToTime(event.time());
  SetNow(time);
  const bool failed = event.state_changed().state() == v1::Job::FAILED;
  FlushFailure(/*ended_the_job=*/failed);
  if (event.has_progress()) ApplyProgress(event.progress());
  if (event.has_task_changed()) ApplyTask(event.task_changed(), time);
  if (!event.has_state_changed()) return;
  state_ = event.state_changed().state();
  reason_ = failed ? "" : event.state_changed().reason();
  v1::JobEvent shown = event;
  if (failed) shown.mutable_state_changed()->clear_reason();
  if (failed) shown.mutable_state_changed()->clear_error();
  lines_.push_back(EventLine(shown));
}

void ProgressView::ApplyProgress(const v1::Progress& progress) {
  workers_ = progress.workers();
  for (const v1::StageProgress& next : progress.stages()) {
    const auto [found, is_new] = stages_.try_emplace(next.stage());
    if (is_new) order_.push_back(next.stage());
    Stage& stage = found->second;
    stage.progress = next;
    if (!stage.start && next.tasks_running() + next.tasks_done() > 0) stage.start = Now();
    const bool done = next.tasks_total() > 0 && next.tasks_done() == next.tasks_total();
    if (!done) stage.end.reset();
    if (done && !stage.end) stage.end = Now();
    const int tenths = Percent(next) / 10;
    if (!stage.start || tenths == stage.announced_tenths) continue;
    stage.announced_tenths = tenths;
    lines_.push_back(
        absl::StrFormat("%-9s %3d%%  %s", Printable(next.stage()), Percent(next), Numbers(stage)));
  }
}

void ProgressView::ApplyTask(const v1::TaskChanged& task, absl::Time time) {
  const auto found = stages_.find(task.stage());
  if (found != stages_.end()) {
    const absl::Time began = time - absl::Seconds(task.seconds());
    Stage& stage = found->second;
    stage.start = stage.start ? std::min(*stage.start, began) : began;
    stage.last_task = stage.last_task ? std::max(*stage.last_task, time) : time;
  }
  if (task.outcome() != v1::TaskChanged::FAILED && task.outcome() != v1::TaskChanged::LOST) return;
  failed_ = task;
}

void ProgressView::FlushFailure(bool ended_the_job) {
  if (!failed_) return;
  v1::JobEvent event;
  *event.mutable_task_changed() = *std::exchange(failed_, std::nullopt);
  if (ended_the_job) event.mutable_task_changed()->clear_error();
  lines_.push_back(EventLine(event));
  failures_.push_back(lines_.back());
}

absl::Duration ProgressView::Elapsed(const Stage& stage) const {
  if (!stage.start) return absl::ZeroDuration();
  const absl::Time end = stage.end ? stage.last_task.value_or(*stage.end) : Now();
  return end - *stage.start;
}

double ProgressView::Rate(const Stage& stage) const {
  const double seconds = absl::ToDoubleSeconds(Elapsed(stage));
  const int computed = stage.progress.tasks_done() - stage.progress.tasks_cached();
  // A stage that has only just begun has no rate yet.
  return seconds >= 0.5 ? computed / seconds : 0;
}

// "32/80  4 cached  2 running  1.3/s  0:37 left  0:24 elapsed", without what does not apply.
std::string ProgressView::Numbers(const Stage& stage) const {
  const v1::StageProgress& progress = stage.progress;
  std::string text = absl::StrCat(progress.tasks_done(), "/", progress.tasks_total());
  if (progress.tasks_cached() > 0) absl::StrAppend(&text, "  ", progress.tasks_cached(), " cached");
  if (progress.tasks_running() > 0) absl::StrAppend(&text, "  ", progress.tasks_running(), " running");
  const double rate = Rate(stage);
  if (rate > 0) {
    absl::StrAppend(&text, "  ", RateText(rate));
    const int left = progress.tasks_total() - progress.tasks_done();
    if (left > 0) absl::StrAppend(&text, "  ", FormatElapsed(absl::Seconds(left / rate)), " left");
  }
  if (stage.start) absl::StrAppend(&text, "  ", FormatElapsed(Elapsed(stage)), " elapsed");
  return text;
}

std::string ProgressView::BarLine(const Stage& stage, int columns) const {
  const v1::StageProgress& progress = stage.progress;
  const double fraction =
      progress.tasks_total() > 0 ? static_cast<double>(progress.tasks_done()) / progress.tasks_total() : 0;
  const std::string line = absl::StrFormat("  %-9s %s %3d%%  %s", Printable(progress.stage()),
                                           Bar(fraction, kBarColumns), Percent(progress), Numbers(stage));
  return Truncate(line, columns);
}

std::vector<std::string> ProgressView::Bars(int columns) const {
  std::string header = absl::StrCat(Printable(name_), "  ", StateName(state_));
  if (!reason_.empty()) absl::StrAppend(&header, " (", Printable(reason_), ")");
  absl::StrAppend(&header, "  ", workers_, workers_ == 1 ? " worker" : " workers");
  if (job_start_) absl::StrAppend(&header, "  ", FormatElapsed(Now() - *job_start_));
  std::vector<std::string> lines = {Truncate(header, columns)};
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
