// submit and estimate: from flags to a spec, uploads, and the call.
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cli/spec_flags.h"
#include "client/commands/commands.h"
#include "client/job_request.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/json_output.h"
#include "client/text/resource_text.h"

namespace quantmoe {
namespace {

constexpr char kSubmitExamples[] =
    "Examples:\n"
    "  quantmoe submit /models/Mixtral-8x7B-v0.1 --bits 3.0 --watch\n"
    "  quantmoe submit hf://Qwen/Qwen1.5-MoE-A2.7B --bytes 6GiB --calibration own.txt --name qwen-6g\n"
    "  quantmoe submit -f job.yaml --bits 2.5 --dry-run\n"
    "  quantmoe submit /models/x --bits 2.5 --pin attention=4 --protect shared --tasks items --limit 200\n"
    "Directories must lie below a --model-root of the server. Files are sent to it.";

struct SubmitFlags {
  cli::TypedFlags spec;
  JobFlags job;
  bool watch = false, dry_run = false;
};

absl::StatusOr<v1::Estimate> Estimate(const Connection& connection, const v1::JobSpec& spec) {
  v1::EstimateJobRequest request;
  *request.mutable_spec() = spec;
  return connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::EstimateJob, request);
}

// The spec with every default filled in, and what the job would need; nothing is created.
absl::StatusOr<int> DryRun(CommandContext& context, const Connection& connection,
                           v1::CreateJobRequest request) {
  request.set_validate_only(true);
  ASSIGN_OR_RETURN(const v1::Job job,
                   connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::CreateJob, request));
  ASSIGN_OR_RETURN(const v1::Estimate estimate, Estimate(connection, request.job().spec()));
  if (context.json) {
    context.out << "{\"job\": " << JsonDocument(job) << ", \"estimate\": " << JsonDocument(estimate) << "}\n";
  } else {
    context.out << RenderJob(job, context.palette) << "\n" << RenderEstimate(estimate);
  }
  context.out << std::flush;
  return kExitOk;
}

absl::StatusOr<int> Submit(CommandContext& context, const SubmitFlags& flags) {
  FileUploads uploads;
  ASSIGN_OR_RETURN(const v1::CreateJobRequest request, MakeCreateJobRequest(flags.spec, flags.job, uploads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  RETURN_IF_ERROR(uploads.Send(*connection));
  if (flags.dry_run) return DryRun(context, *connection, request);
  ASSIGN_OR_RETURN(const v1::Job job,
                   connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::CreateJob, request));
  if (request.validate_only()) {
    context.Print(job, absl::StrCat("the job is valid\n\n", RenderJob(job, context.palette)));
    return kExitOk;
  }
  for (const std::string& warning : job.warnings()) {
    context.err << "quantmoe: warning: " << Printable(warning) << std::endl;
  }
  if (!flags.watch) {
    context.Print(job, absl::StrCat("created ", Printable(job.name()), "\n"));
    return kExitOk;
  }
  // With --json, standard output holds the events alone.
  if (!context.json) context.out << "created " << Printable(job.name()) << std::endl;
  return WatchToEnd(context, *connection, {.job = job.name()});
}

absl::StatusOr<int> RunEstimate(CommandContext& context, const SubmitFlags& flags) {
  FileUploads uploads;
  ASSIGN_OR_RETURN(const v1::JobSpec spec, MakeJobSpec(flags.spec, {}, uploads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  RETURN_IF_ERROR(uploads.Send(*connection));
  ASSIGN_OR_RETURN(const v1::Estimate estimate, Estimate(*connection, spec));
  context.Print(estimate, RenderEstimate(estimate));
  return kExitOk;
}

}  // namespace

void AddSubmitCommands(cli::Command app, CommandContext& context) {
  auto submit = std::make_shared<SubmitFlags>();
  cli::Command command = AddCommand(app, context, "submit", "Create a job",
                                    [&context, submit] { return Submit(context, *submit); });
  cli::AddSpecFlags(command, submit->spec);
  AddJobFlags(command, submit->job);
  command.AddSwitch(
      "--dry-run", submit->dry_run,
      "Print the spec with every default filled in and what the job would need; create nothing");
  command.AddSwitch("--watch,--wait", submit->watch, "Watch the job to its end");
  command.SetFooter(kSubmitExamples);

  auto estimate = std::make_shared<SubmitFlags>();
  cli::AddSpecFlags(AddCommand(app, context, "estimate", "Say what a job would need, without creating it",
                               [&context, estimate] { return RunEstimate(context, *estimate); }),
                    estimate->spec);
}

}  // namespace quantmoe
