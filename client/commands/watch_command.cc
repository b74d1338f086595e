// watch: a job's progress as bars, lines or JSON, and its outcome as an exit code. wait: the outcomes alone,
// of several jobs.
#include <memory>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/json_output.h"
#include "client/text/progress_view.h"
#include "client/text/resource_text.h"
#include "client/transfer/watch.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

// Tells of a lost connection once, however often it is tried again.
class LossNotice {
 public:
  explicit LossNotice(CommandContext& context) : context_(context) {}
  void Lost(const absl::Status& status) {
    if (std::exchange(lost_, true)) return;
    context_.err << "quantmoe: cannot reach the server at " << Printable(context_.connection.server)
                 << ", trying again: " << Printable(status.message()) << std::endl;
  }
  void Back() {
    if (std::exchange(lost_, false)) context_.err << "quantmoe: connected again" << std::endl;
  }

 private:
  CommandContext& context_;
  bool lost_ = false;
};

class JsonObserver : public WatchObserver {
 public:
  explicit JsonObserver(CommandContext& context) : context_(context), notice_(context) {}
  void OnEvent(const v1::JobEvent& event) override {
    notice_.Back();
    context_.out << JsonLine(event) << std::flush;
  }
  void OnConnectionLost(const absl::Status& status) override { notice_.Lost(status); }
  bool Detached() override { return context_.interrupted(); }

 private:
  CommandContext& context_;
  LossNotice notice_;
};

// Bars that are redrawn in place on a terminal, lines elsewhere.
class TextObserver : public WatchObserver {
 public:
  explicit TextObserver(CommandContext& context)
      : context_(context), notice_(context), view_(Clock::Real(), context.palette) {}

  void Begin(const v1::Job& job, int64_t after_seq) {
    notice_.Back();
    view_.Begin(job, after_seq);
    begun_ = true;
  }

  void OnEvent(const v1::JobEvent& event) override {
    notice_.Back();
    view_.ApplyEvent(event);
    if (context_.terminal_columns() == 0) PrintLines(view_.TakeLines());
  }

  void OnConnectionLost(const absl::Status& status) override {
    Erase();
    notice_.Lost(status);
  }

  void OnTick() override {
    if (!begun_) return;
    view_.Tick();
    if (context_.terminal_columns() == 0) return PrintLines(view_.TakeLines());
    const absl::Duration now = Clock::Real().Monotonic();
    if (now - last_draw_ < absl::Milliseconds(150)) return;
    last_draw_ = now;
    Draw();
  }

  bool Detached() override { return context_.interrupted(); }

  // Shows the last state, which the event stream may have left out.
  void Finish(const v1::Job& job) {
    view_.ApplyJob(job);
    if (context_.terminal_columns() == 0) {
      PrintLines(view_.TakeLines());
    } else {
      Draw();
    }
  }

 private:
  void PrintLines(const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    for (const std::string& line : lines) context_.out << line << "\n";
    context_.out << std::flush;
  }

  void Erase() {
    if (drawn_ > 0) context_.out << "\x1b[" << drawn_ << "A\x1b[J" << std::flush;
    drawn_ = 0;
  }

  void Draw() {
    const std::vector<std::string> bars = view_.Bars(context_.terminal_columns());
    Erase();
    PrintLines(view_.TakeFailures());
    PrintLines(bars);
    drawn_ = bars.size();
  }

  CommandContext& context_;
  LossNotice notice_;
  ProgressView view_;
  bool begun_ = false;
  size_t drawn_ = 0;
  absl::Duration last_draw_ = -absl::InfiniteDuration();
};

int OutcomeCode(v1::Job::State state) {
  if (state == v1::Job::SUCCEEDED) return kExitOk;
  return state == v1::Job::CANCELLED ? kExitCancelled : kExitFailed;
}

int Detach(CommandContext& context, const std::string& job) {
  context.err << "\nquantmoe: detached; " << job << " goes on. `quantmoe watch " << job
              << "` follows it again, "
              << "`quantmoe cancel " << job << "` stops it" << std::endl;
  return kExitInterrupted;
}

int ReportOutcome(CommandContext& context, const v1::Job& job, v1::Job::State state) {
  if (state == v1::Job::FAILED) {
    const absl::Status told = FromRpcStatus(job.error());
    const absl::Status error = told.ok() ? absl::UnknownError("the job failed") : told;
    context.err << (context.json ? ErrorJson(error) : RenderError(error, context.connection.server));
  }
  if (state == v1::Job::SUCCEEDED && !context.json) {
    context.out << "published " << Printable(job.artifact()) << "; see `quantmoe report "
                << Printable(job.name()) << "`" << std::endl;
  }
  return OutcomeCode(state);
}

// Says nothing of progress, and gives up at `deadline`.
class SilentObserver : public WatchObserver {
 public:
  SilentObserver(CommandContext& context, absl::Duration deadline)
      : context_(context), deadline_(deadline), notice_(context) {}
  void OnEvent(const v1::JobEvent&) override { notice_.Back(); }
  void OnConnectionLost(const absl::Status& status) override { notice_.Lost(status); }
  bool Detached() override { return context_.interrupted() || Clock::Real().Monotonic() >= deadline_; }

 private:
  CommandContext& context_;
  const absl::Duration deadline_;
  LossNotice notice_;
};

// The job once it has ended; nothing when the observer detached before.
absl::StatusOr<std::optional<v1::Job>> AwaitEnd(const Connection& connection, const WatchOptions& options,
                                                WatchObserver& observer) {
  ASSIGN_OR_RETURN(const v1::Job::State state, FollowJob(connection, options, observer));
  if (state == v1::Job::STATE_UNSPECIFIED) return std::optional<v1::Job>();
  return AwaitJob(connection, options, observer);
}

struct WaitFlags {
  std::vector<std::string> jobs;
  double seconds = 0;  // 0: as long as it takes
};

absl::StatusOr<int> WaitForJobs(CommandContext& context, const WaitFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  const absl::Duration deadline =
      flags.seconds > 0 ? Clock::Real().Monotonic() + absl::Seconds(flags.seconds) : absl::InfiniteDuration();
  SilentObserver observer(context, deadline);
  int code = kExitOk;
  for (const std::string& name : flags.jobs) {
    const WatchOptions options = {.job = ResourceName("jobs", name)};
    ASSIGN_OR_RETURN(const std::optional<v1::Job> job, AwaitEnd(*connection, options, observer));
    if (!job) {
      if (context.interrupted()) return kExitInterrupted;
      context.err << "quantmoe: " << Printable(options.job) << " has not ended in " << flags.seconds
                  << " s\n";
      return kExitUnavailable;
    }
    const absl::Status error = FromRpcStatus(job->error());
    const std::string why = error.ok() ? "" : absl::StrCat(": ", Printable(error.message()));
    context.Print(*job, absl::StrCat(Printable(job->name()), " ", StateName(job->state()), why, "\n"));
    if (code == kExitOk) code = OutcomeCode(job->state());
  }
  return code;
}

}  // namespace

absl::StatusOr<int> WatchToEnd(CommandContext& context, const Connection& connection,
                               const WatchOptions& options) {
  JsonObserver json(context);
  TextObserver text(context);
  WatchObserver& observer = context.json ? static_cast<WatchObserver&>(json) : text;
  ASSIGN_OR_RETURN(const std::optional<v1::Job> before, AwaitJob(connection, options, observer));
  if (!before.has_value()) return Detach(context, options.job);
  // A stream from behind the last event of a job that has ended has nothing to say.
  if (IsTerminal(before->state()) && options.after_seq > 0 && options.after_seq >= before->last_event_seq()) {
    if (!context.json) text.Finish(*before);
    return ReportOutcome(context, *before, before->state());
  }
  text.Begin(*before, options.after_seq);
  ASSIGN_OR_RETURN(const v1::Job::State state, FollowJob(connection, options, observer));
  if (state == v1::Job::STATE_UNSPECIFIED) return Detach(context, options.job);
  ASSIGN_OR_RETURN(const std::optional<v1::Job> after, AwaitJob(connection, options, observer));
  if (!after.has_value()) return Detach(context, options.job);
  if (!context.json) text.Finish(*after);
  return ReportOutcome(context, *after, state);
}

void AddWaitCommand(cli::Command app, CommandContext& context) {
  const auto flags = std::make_shared<WaitFlags>();
  cli::Command command = AddCommand(app, context, "wait", "Wait for jobs to end and print how they did",
                                    [&context, flags] { return WaitForJobs(context, *flags); });
  command.Add("jobs", flags->jobs, "Ids or names of jobs").Required().Type("JOB");
  command.Add("--for", flags->seconds, "Give up after so long, with exit code 4 (default: never)")
      .Within(Above(0))
      .Type("SECONDS");
  command.SetFooter(
      "Exit code: 0 all succeeded, otherwise that of the first that did not: 1 failed, 3 cancelled.");
}

void AddWatchCommand(cli::Command app, CommandContext& context) {
  struct Flags {
    std::string job;
    int64_t after_seq = 0;
    double give_up_seconds = absl::ToDoubleSeconds(WatchOptions().give_up_after);
  };
  const auto flags = std::make_shared<Flags>();
  cli::Command command = AddCommand(
      app, context, "watch", "Follow a job to its end", [&context, flags]() -> absl::StatusOr<int> {
        ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
        return WatchToEnd(context, *connection,
                          {.job = ResourceName("jobs", flags->job),
                           .after_seq = flags->after_seq,
                           .give_up_after = absl::Seconds(flags->give_up_seconds)});
      });
  command.Add("job", flags->job, "Id or name of the job").Required().Type("JOB");
  command.Add("--after-seq", flags->after_seq, "Skip events up to this number").Within(AtLeast(0));
  command
      .Add("--give-up-after", flags->give_up_seconds,
           "Keep trying for so long when the server cannot be reached")
      .Within(AtLeast(0))
      .ShowDefault()
      .Type("SECONDS");
  command.SetFooter(
      "Exit code: 0 the job succeeded, 3 it was cancelled, 1 it failed, or all workers that ran it died and "
      "none "
      "came within 15 seconds. Ctrl-C leaves the job running and exits with 130.");
}

}  // namespace quantmoe
