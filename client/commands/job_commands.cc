// Commands on jobs that exist: list, get, describe, tasks, events, cancel, retry, delete, report.
#include <algorithm>
#include <functional>
#include <memory>
#include <ostream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/clock.h"
#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/job_file.h"
#include "client/commands/commands.h"
#include "client/job_request.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/json_output.h"
#include "client/text/report_text.h"
#include "client/text/resource_text.h"
#include "proto/job_spec_proto.h"
#include "proto/job_state_names.h"

namespace quantmoe {
namespace {

constexpr int kEventPageSize = 500;

constexpr int kDescribedEvents = 20;

struct JobCommandFlags {
  std::string job;
  std::vector<std::string> jobs;  // of commands that take several
  std::string state;
  std::string reason;
  int64_t after_seq = 0;
  bool force = false;
  bool yes = false;
  bool watch = false;
  bool linears = false;
  std::string output;  // of get: text, json or yaml; empty: as --json says

  std::string Name() const { return ResourceName("jobs", job); }
};

using Flags = std::shared_ptr<JobCommandFlags>;

absl::StatusOr<int> List(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::ListJobsRequest request;
  if (!flags.state.empty()) request.set_filter(absl::StrCat("state=", absl::AsciiStrToUpper(flags.state)));
  ASSIGN_OR_RETURN(const v1::ListJobsResponse all,
                   connection->ListAll(connection->jobs(), &v1::JobService::Stub::ListJobs, request));
  context.Print(all, RenderJobs(all, Clock::Real().Now(), context.palette));
  return kExitOk;
}

absl::StatusOr<v1::Job> ReadJob(const Connection& connection, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  return connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::GetJob, request);
}

absl::StatusOr<v1::ListTasksResponse> ReadTasks(const Connection& connection, const std::string& job) {
  v1::ListTasksRequest request;
  request.set_job(job);
  return connection.ListAll(connection.jobs(), &v1::JobService::Stub::ListTasks, request);
}

absl::StatusOr<v1::ListJobEventsResponse> ReadEvents(const Connection& connection, const std::string& job,
                                                     int64_t after_seq) {
  v1::ListJobEventsRequest request;
  request.set_name(job);
  request.set_after_seq(after_seq);
  request.set_page_size(kEventPageSize);
  v1::ListJobEventsResponse all;
  while (true) {
    ASSIGN_OR_RETURN(
        const v1::ListJobEventsResponse page,
        connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::ListJobEvents, request));
    if (page.events().empty() || page.events().rbegin()->seq() <= request.after_seq()) return all;
    request.set_after_seq(page.events().rbegin()->seq());
    all.MergeFrom(page);
  }
}

// A job file that submits the same again.
absl::StatusOr<std::string> JobFileOf(const v1::Job& job) {
  cli::SpecInput input;
  std::vector<FieldViolation> violations;
  input.spec = JobSpecFromProto(job.spec(), violations, &input.given);
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  input.title = {job.display_name(), {job.labels().begin(), job.labels().end()}};
  return cli::JobFileText(input);
}

absl::StatusOr<int> Get(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, ReadJob(*connection, flags.Name()));
  if (flags.output == "yaml") {
    ASSIGN_OR_RETURN(const std::string file, JobFileOf(job));
    context.out << file << std::flush;
    return kExitOk;
  }
  if (!flags.output.empty()) context.json = flags.output == "json";
  context.Print(job, RenderJob(job, context.palette));
  return kExitOk;
}

// With --json the same as `get`: tasks and events have commands of their own.
absl::StatusOr<int> Describe(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, ReadJob(*connection, flags.Name()));
  ASSIGN_OR_RETURN(const v1::ListTasksResponse tasks, ReadTasks(*connection, flags.Name()));
  const int64_t after_seq = std::max<int64_t>(0, job.last_event_seq() - kDescribedEvents);
  ASSIGN_OR_RETURN(const v1::ListJobEventsResponse events, ReadEvents(*connection, flags.Name(), after_seq));
  context.Print(job, RenderDescription(job, tasks, events, context.palette));
  return kExitOk;
}

absl::StatusOr<int> Tasks(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListTasksResponse tasks, ReadTasks(*connection, flags.Name()));
  context.Print(tasks, RenderTasks(tasks));
  return kExitOk;
}

// With --json one event a line, as watch prints them.
absl::StatusOr<int> Events(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(const v1::ListJobEventsResponse all,
                   ReadEvents(*connection, flags.Name(), flags.after_seq));
  if (!context.json) context.out << RenderEvents(all);
  for (const v1::JobEvent& event : all.events()) {
    if (context.json) context.out << JsonLine(event);
  }
  return kExitOk;
}

// Does `one` for every job that was named. What is wrong with one does not keep the others; the exit code is
// the first failure's.
absl::StatusOr<int> ForEachJob(
    CommandContext& context, const std::vector<std::string>& jobs,
    const std::function<absl::Status(const Connection&, const std::string& name)>& one) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  int code = kExitOk;
  for (const std::string& job : jobs) {
    const absl::Status status = one(*connection, ResourceName("jobs", job));
    if (status.ok()) continue;
    if (jobs.size() == 1) return status;
    context.err << (context.json ? ErrorJson(status) : RenderError(status, context.connection.server));
    if (code == kExitOk) code = ExitCodeOf(status);
  }
  return code;
}

absl::StatusOr<int> Cancel(CommandContext& context, const JobCommandFlags& flags) {
  return ForEachJob(
      context, flags.jobs, [&](const Connection& connection, const std::string& name) -> absl::Status {
        v1::CancelJobRequest request;
        request.set_name(name);
        request.set_reason(flags.reason);
        ASSIGN_OR_RETURN(
            const v1::Job job,
            connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::CancelJob, request));
        context.Print(job, absl::StrCat(Printable(job.name()), " is ", StateName(job.state()), "\n"));
        return absl::OkStatus();
      });
}

absl::StatusOr<int> Retry(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::RetryJobRequest request;
  request.set_name(flags.Name());
  request.set_request_id(RandomUuid());
  ASSIGN_OR_RETURN(const v1::Job job,
                   connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::RetryJob, request));
  const std::string created = absl::StrCat("created ", Printable(job.name()), "\n");
  if (!flags.watch) {
    context.Print(job, created);
    return kExitOk;
  }
  if (!context.json) context.out << created << std::flush;
  return WatchToEnd(context, *connection, {.job = job.name()});
}

// True without a question where nobody can answer it: scripts say what they mean.
bool MayDelete(CommandContext& context, const JobCommandFlags& flags) {
  if (flags.yes) return true;
  const std::string what = flags.jobs.size() == 1 ? flags.jobs.front()
                                                  : absl::StrCat(flags.jobs.size(), " jobs (",
                                                                 absl::StrJoin(flags.jobs, ", "), ")");
  return context.confirm(absl::StrCat("delete ", Printable(what), " with what it published?")).value_or(true);
}

absl::StatusOr<int> Delete(CommandContext& context, const JobCommandFlags& flags) {
  if (!MayDelete(context, flags)) {
    context.err << "nothing was deleted\n";
    return kExitFailed;
  }
  return ForEachJob(
      context, flags.jobs, [&](const Connection& connection, const std::string& name) -> absl::Status {
        v1::DeleteJobRequest request;
        request.set_name(name);
        request.set_force(flags.force);
        ASSIGN_OR_RETURN(const v1::DeleteJobResponse response,
                         connection.Call(connection.jobs(), &v1::JobService::Stub::DeleteJob, request));
        context.Print(response, absl::StrCat("deleted ", Printable(name), "\n"));
        return absl::OkStatus();
      });
}

absl::StatusOr<int> Report(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::GetJobReportRequest request;
  request.set_name(flags.Name());
  ASSIGN_OR_RETURN(
      const v1::JobReport report,
      connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::GetJobReport, request));
  if (context.json) {
    context.out << report.json() << "\n";
    return kExitOk;
  }
  ASSIGN_OR_RETURN(const std::string text, RenderReport(report.json(), {.linears = flags.linears}));
  context.out << text;
  return kExitOk;
}

using Run = absl::StatusOr<int> (*)(CommandContext&, const JobCommandFlags&);

cli::Command AddOne(cli::Command app, CommandContext& context, const std::string& name,
                    const std::string& help, const Flags& flags, Run run) {
  return AddCommand(app, context, name, help, [&context, flags, run] { return run(context, *flags); });
}

cli::Command AddForJob(cli::Command app, CommandContext& context, const std::string& name,
                       const std::string& help, const Flags& flags, Run run) {
  cli::Command command = AddOne(app, context, name, help, flags, run);
  command.Add("job", flags->job, "Id or name of the job").Required().Type("JOB");
  return command;
}

cli::Command AddForJobs(cli::Command app, CommandContext& context, const std::string& name,
                        const std::string& help, const Flags& flags, Run run) {
  cli::Command command = AddOne(app, context, name, help, flags, run);
  command.Add("jobs", flags->jobs, "Ids or names of jobs").Required().Type("JOB");
  return command;
}

}  // namespace

void AddJobCommands(cli::Command app, CommandContext& context) {
  const auto flags = std::make_shared<JobCommandFlags>();
  AddOne(app, context, "list", "List jobs, newest first", flags, List)
      .Add("--state", flags->state, absl::StrCat("Only jobs in this state: ", JobStateNames()));
  AddForJob(app, context, "get", "Show a job, with every default that it was run with", flags, Get)
      .Add("-o,--output", flags->output, "text, json, or yaml: a job file that submits it again")
      .OneOf({"text", "json", "yaml"})
      .Type("FORM");
  AddForJob(app, context, "describe", "Show a job, its tasks that run or failed, and what happened last",
            flags, Describe);
  AddForJob(app, context, "tasks", "List the tasks of a job", flags, Tasks);
  AddForJob(app, context, "events", "Print the event log of a job", flags, Events)
      .Add("--after-seq", flags->after_seq, "Only events after this number")
      .Within(AtLeast(0));
  AddForJobs(app, context, "cancel", "Stop jobs", flags, Cancel)
      .Add("--reason", flags->reason, "Kept with the job");
  AddForJob(app, context, "retry", "Run a job that failed or was cancelled again", flags, Retry)
      .AddSwitch("--watch,--wait", flags->watch, "Watch the new job to its end");
  cli::Command erase =
      AddForJobs(app, context, "delete", "Forget jobs and what they published", flags, Delete);
  erase.AddSwitch("--force", flags->force, "Also those that run");
  erase.AddSwitch("-y,--yes", flags->yes, "Do not ask; without a terminal nobody is asked");
  AddForJob(app, context, "report", "Show scores, plan and costs of a finished job", flags, Report)
      .AddSwitch("--linears", flags->linears, "Also one row per linear");
}

}  // namespace quantmoe
