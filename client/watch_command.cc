// watch: a job's progress as bars, lines or JSON, and its outcome as an exit code.
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client/commands.h"
#include "client/error_report.h"
#include "client/format.h"
#include "client/json_output.h"
#include "client/progress_view.h"
#include "client/resource_text.h"
#include "client/watch.h"

namespace quantmoe {
namespace {

class JsonObserver : public WatchObserver {
 public:
  explicit JsonObserver(CommandContext& context) : context_(context) {}
  void OnEvent(const v1::JobEvent& event) override { context_.out << JsonLine(event) << std::flush; }
  void OnConnectionLost(const absl::Status& status) override {
    context_.err << "quantmoe: connection lost, trying again: " << Printable(status.message()) << std::endl;
  }
  bool Detached() override { return context_.interrupted(); }

 private:
  CommandContext& context_;
};

// Bars that are redrawn in place on a terminal, lines elsewhere.
class TextObserver : public WatchObserver {
 public:
  TextObserver(CommandContext& context, const v1::Job& job) : context_(context), view_(Clock::Real()) {
    view_.ApplyJob(job);
  }

  void OnEvent(const v1::JobEvent& event) override {
    view_.ApplyEvent(event);
    if (context_.terminal_columns() == 0) PrintLines(view_.TakeLines());
  }

  void OnConnectionLost(const absl::Status& status) override {
    Erase();
    context_.err << "quantmoe: connection lost, trying again: " << Printable(status.message()) << std::endl;
  }

  void OnTick() override {
    const absl::Duration now = Clock::Real().Monotonic();
    if (context_.terminal_columns() == 0 || now - last_draw_ < absl::Milliseconds(150)) return;
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
  ProgressView view_;
  size_t drawn_ = 0;
  absl::Duration last_draw_ = -absl::InfiniteDuration();
};

absl::StatusOr<v1::Job> ReadJob(const Connection& connection, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  return connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::GetJob, request);
}

int OutcomeCode(v1::Job::State state) {
  if (state == v1::Job::SUCCEEDED) return kExitOk;
  return state == v1::Job::CANCELLED ? kExitCancelled : kExitFailed;
}

int Detach(CommandContext& context, const std::string& job) {
  context.err << "\nquantmoe: detached; " << job << " goes on. `quantmoe watch " << job
              << "` follows it again, "
              << "`quantmoe cancel " << job << "` stops it" << std::endl;
  return kExitOk;
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

}  // namespace

absl::StatusOr<int> WatchToEnd(CommandContext& context, const Connection& connection, const std::string& job,
                               int64_t after_seq) {
  ASSIGN_OR_RETURN(const v1::Job before, ReadJob(connection, job));
  JsonObserver json(context);
  TextObserver text(context, before);
  WatchObserver& observer = context.json ? static_cast<WatchObserver&>(json) : text;
  ASSIGN_OR_RETURN(const v1::Job::State state,
                   FollowJob(connection, {.job = job, .after_seq = after_seq}, observer));
  if (state == v1::Job::STATE_UNSPECIFIED) return Detach(context, job);
  ASSIGN_OR_RETURN(const v1::Job after, ReadJob(connection, job));
  if (!context.json) text.Finish(after);
  return ReportOutcome(context, after, state);
}

void AddWatchCommand(CLI::App& app, CommandContext& context) {
  struct Flags {
    std::string job;
    int64_t after_seq = 0;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& command = AddCommand(
      app, context, "watch", "Follow a job to its end", [&context, flags]() -> absl::StatusOr<int> {
        ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
        return WatchToEnd(context, *connection, ResourceName("jobs", flags->job), flags->after_seq);
      });
  command.add_option("job", flags->job, "Id or name of the job")->required()->type_name("JOB");
  command.add_option("--after-seq", flags->after_seq, "Skip events up to this number");
  command.footer("Exit code: 0 the job succeeded, 1 failed, 3 cancelled. Ctrl-C leaves the job running.");
}

}  // namespace quantmoe
