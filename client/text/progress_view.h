// What a job's progress looks like: one bar per stage for terminals, a line per notable change for logs. Fed
// with events; draws nothing itself. Bars show the server's counts of the moment; lines follow the event log,
// so that they come in its order whenever the watch began. Times are the server's, and between events a
// clock's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include <quantmoe/v1/jobs.pb.h>

#include "base/clock.h"
#include "client/text/format.h"

namespace quantmoe {

class ProgressView {
 public:
  explicit ProgressView(const Clock& clock, Palette palette = {}) : clock_(clock), palette_(palette) {}

  // The job at the start of a watch that will show its log after `after_seq`.
  void Begin(const v1::Job& job, int64_t after_seq);
  // Takes state, times and progress of a freshly read job. The end of a job is told by this, not by its
  // event.
  void ApplyJob(const v1::Job& job);
  void ApplyEvent(const v1::JobEvent& event);
  // To be called several times a second: a failed attempt is told once it is clear that it did not end the
  // job.
  void Tick();

  // A header, the reason of the state, and one line per stage; each fits `columns`.
  std::vector<std::string> Bars(int columns) const;

  // Lines since the last call: changes of state, failed attempts, the start and every tenth of a stage. What
  // ended the job is left to whoever reports the outcome.
  std::vector<std::string> TakeLines();
  // Of these, only failed attempts; for drawing above the bars.
  std::vector<std::string> TakeFailures();

 private:
  struct Stage {
    v1::StageProgress progress;
    int logged = 0;                       // tasks whose end the log has told
    std::optional<absl::Time> start;      // of its first task, as far as known
    std::optional<absl::Time> last_task;  // of its tasks, the last known end
    int announced_tenths = 0;
  };
  struct FailedAttempt {
    v1::TaskChanged task;
    absl::Duration seen;
  };

  void TakeProgress(const v1::Progress& progress, bool live);
  void ApplyTask(const v1::TaskChanged& task, absl::Time time);
  void ApplyState(const v1::StateChanged& change);
  void ApplyWaiting(const v1::JobEvent& event);
  // Adds a line when another tenth of the stage is in the log.
  void Announce(const Stage& stage, int done);
  void AnnounceLogged(Stage& stage);
  // Adds the failed attempt that waits; without its error when that ended the job.
  void FlushFailure(bool ended_the_job);
  // The server's time, as far as known: that of the newest event plus the time since it came.
  absl::Time Now() const;
  void SetNow(absl::Time time);
  absl::Duration Elapsed(const Stage& stage) const;
  std::vector<std::string> Numbers(const Stage& stage, int done, int columns) const;
  std::string BarLine(const Stage& stage, int columns) const;

  const Clock& clock_;
  const Palette palette_;
  std::string name_;
  v1::Job::State state_ = v1::Job::STATE_UNSPECIFIED;
  std::string reason_;
  std::string waiting_;  // why it waits, as a line told it last
  int workers_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, Stage> stages_;
  std::optional<absl::Time> job_start_;
  // While the log up to this event is repeated: what can be told of rates and time left is over.
  int64_t history_end_ = 0;
  bool in_history_ = false;
  absl::Time event_time_;
  absl::Duration event_received_;
  std::vector<std::string> lines_;
  std::vector<std::string> failures_;
  std::optional<FailedAttempt> failed_;  // the last attempt, until the next event
};

}  // namespace quantmoe
