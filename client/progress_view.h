// What a job's progress looks like: one bar per stage for terminals, a line per notable change for logs. Fed
// with events; draws nothing itself. Times come from the events, and between them from a clock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include <quantmoe/v1/jobs.pb.h>

#include "base/clock.h"

namespace quantmoe {

class ProgressView {
 public:
  explicit ProgressView(const Clock& clock) : clock_(clock) {}

  // Takes state, times and progress of a freshly read job.
  void ApplyJob(const v1::Job& job);
  void ApplyEvent(const v1::JobEvent& event);

  // A header and one line per stage, cut to `columns`.
  std::vector<std::string> Bars(int columns) const;

  // Lines since the last call: changes of state, failed attempts, and every tenth of a stage. A failed
  // attempt comes with the event after it. What ended the job is left to whoever reports the outcome.
  std::vector<std::string> TakeLines();
  // Of these, only failed attempts; for drawing above the bars.
  std::vector<std::string> TakeFailures();

 private:
  struct Stage {
    v1::StageProgress progress;
    std::optional<absl::Time> start;
    std::optional<absl::Time> end;        // when it was seen to be done
    std::optional<absl::Time> last_task;  // of its tasks, the last known end
    int announced_tenths = -1;
  };

  void ApplyProgress(const v1::Progress& progress);
  void ApplyTask(const v1::TaskChanged& task, absl::Time time);
  // Adds the failed attempt that waits; without its error when that ended the job.
  void FlushFailure(bool ended_the_job);
  // The server's time, as far as known: that of the newest event plus the time since it came.
  absl::Time Now() const;
  void SetNow(absl::Time time);
  absl::Duration Elapsed(const Stage& stage) const;
  // Tasks a second that were computed, not found.
  double Rate(const Stage& stage) const;
  std::string Numbers(const Stage& stage) const;
  std::string BarLine(const Stage& stage, int columns) const;

  const Clock& clock_;
  std::string name_;
  v1::Job::State state_ = v1::Job::STATE_UNSPECIFIED;
  std::string reason_;
  int workers_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, Stage> stages_;
  std::optional<absl::Time> job_start_;
  absl::Time event_time_;
  absl::Duration event_received_;
  std::vector<std::string> lines_;
  std::vector<std::string> failures_;
  std::optional<v1::TaskChanged> failed_;  // the last attempt, until the next event
};

}  // namespace quantmoe
