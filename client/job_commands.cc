// Commands on jobs that exist: list, get, tasks, events, cancel, retry, delete, report.
#include <memory>
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client/commands.h"
#include "client/error_report.h"
#include "client/format.h"
#include "client/json_output.h"
#include "client/report_text.h"
#include "client/resource_text.h"
#include "client/spec_flags.h"

namespace quantmoe {
namespace {

constexpr int kPageSize = 500;

struct JobCommandFlags {
  std::string job;
  std::string state;
  std::string reason;
  int64_t after_seq = 0;
  bool force = false;
  bool watch = false;
  bool linears = false;

  std::string Name() const { return ResourceName("jobs", job); }
};

using Flags = std::shared_ptr<JobCommandFlags>;

absl::StatusOr<int> List(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::ListJobsRequest request;
  request.set_page_size(kPageSize);
  if (!flags.state.empty()) request.set_filter(absl::StrCat("state=", absl::AsciiStrToUpper(flags.state)));
  v1::ListJobsResponse all;
  do {
    ASSIGN_OR_RETURN(v1::ListJobsResponse page,
                     connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::ListJobs, request));
    request.set_page_token(page.next_page_token());
    page.clear_next_page_token();
    all.MergeFrom(page);
  } while (!request.page_token().empty());
  context.Print(all, RenderJobs(all));
  return kExitOk;
}

absl::StatusOr<int> Get(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::GetJobRequest request;
  request.set_name(flags.Name());
  ASSIGN_OR_RETURN(const v1::Job job,
                   connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::GetJob, request));
  context.Print(job, RenderJob(job));
  return kExitOk;
}

absl::StatusOr<int> Tasks(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::ListTasksRequest request;
  request.set_job(flags.Name());
  request.set_page_size(kPageSize);
  v1::ListTasksResponse all;
  do {
    ASSIGN_OR_RETURN(
        v1::ListTasksResponse page,
        connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::ListTasks, request));
    request.set_page_token(page.next_page_token());
    page.clear_next_page_token();
    all.MergeFrom(page);
  } while (!request.page_token().empty());
  context.Print(all, RenderTasks(all));
  return kExitOk;
}

// With --json one event a line, as watch prints them.
absl::StatusOr<int> Events(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::ListJobEventsRequest request;
  request.set_name(flags.Name());
  request.set_after_seq(flags.after_seq);
  request.set_page_size(kPageSize);
  v1::ListJobEventsResponse all;
  while (true) {
    ASSIGN_OR_RETURN(
        const v1::ListJobEventsResponse page,
        connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::ListJobEvents, request));
    if (page.events().empty() || page.events().rbegin()->seq() <= request.after_seq()) break;
    request.set_after_seq(page.events().rbegin()->seq());
    all.MergeFrom(page);
  }
  if (!context.json) context.out << RenderEvents(all);
  for (const v1::JobEvent& event : all.events()) {
    if (context.json) context.out << JsonLine(event);
  }
  return kExitOk;
}

absl::StatusOr<int> Cancel(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::CancelJobRequest request;
  request.set_name(flags.Name());
  request.set_reason(flags.reason);
  ASSIGN_OR_RETURN(const v1::Job job,
                   connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::CancelJob, request));
  context.Print(job, absl::StrCat(Printable(job.name()), " is ", StateName(job.state()), "\n"));
  return kExitOk;
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

absl::StatusOr<int> Delete(CommandContext& context, const JobCommandFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::DeleteJobRequest request;
  request.set_name(flags.Name());
  request.set_force(flags.force);
  ASSIGN_OR_RETURN(const v1::DeleteJobResponse response,
                   connection->Call(connection->jobs(), &v1::JobService::Stub::DeleteJob, request));
  context.Print(response, absl::StrCat("deleted ", flags.Name(), "\n"));
  return kExitOk;
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

CLI::App& AddOne(CLI::App& app, CommandContext& context, const std::string& name, const std::string& help,
                 const Flags& flags, Run run) {
  return AddCommand(app, context, name, help, [&context, flags, run] { return run(context, *flags); });
}

CLI::App& AddForJob(CLI::App& app, CommandContext& context, const std::string& name, const std::string& help,
                    const Flags& flags, Run run) {
  CLI::App& command = AddOne(app, context, name, help, flags, run);
  command.add_option("job", flags->job, "Id or name of the job")->required()->type_name("JOB");
  return command;
}

}  // namespace

void AddJobCommands(CLI::App& app, CommandContext& context) {
  const auto flags = std::make_shared<JobCommandFlags>();
  AddOne(app, context, "list", "List jobs, newest first", flags, List)
      .add_option("--state", flags->state, "Only jobs in this state, such as RUNNING");
  AddForJob(app, context, "get", "Show a job", flags, Get);
  AddForJob(app, context, "tasks", "List the tasks of a job", flags, Tasks);
  AddForJob(app, context, "events", "Print the event log of a job", flags, Events)
      .add_option("--after-seq", flags->after_seq, "Only events after this number");
  AddForJob(app, context, "cancel", "Stop a job", flags, Cancel)
      .add_option("--reason", flags->reason, "Kept with the job");
  AddForJob(app, context, "retry", "Run a job that failed or was cancelled again", flags, Retry)
      .add_flag("--watch,--wait", flags->watch, "Watch the new job to its end");
  AddForJob(app, context, "delete", "Forget a job and its artifact", flags, Delete)
      .add_flag("--force", flags->force, "Also when it runs");
  AddForJob(app, context, "report", "Show scores, plan and costs of a finished job", flags, Report)
      .add_flag("--linears", flags->linears, "Also one row per linear");
}

}  // namespace quantmoe
