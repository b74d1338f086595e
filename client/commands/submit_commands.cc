// submit and estimate: from flags to a spec, uploads, and the call.
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client/commands/commands.h"
#include "client/spec_flags.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/resource_text.h"

namespace quantmoe {
namespace {

constexpr char kSubmitExamples[] =
    "Examples:\n"
    "  quantmoe submit /models/Mixtral-8x7B-v0.1 --bits 3.0 --watch\n"
    "  quantmoe submit hf://Qwen/Qwen1.5-MoE-A2.7B --bytes 6GiB --calibration own.txt --name qwen-6g\n"
    "  quantmoe submit /models/x --bits 2.5 --pin attention=4 --protect shared --tasks items --limit 200\n"
    "Directories must lie below a --model-root of the server. Files are sent to it.";

struct SubmitFlags {
  SpecFlags spec;
  JobFlags job;
  bool watch = false;
};

absl::StatusOr<int> Submit(CommandContext& context, const SubmitFlags& flags) {
  FileUploads uploads;
  ASSIGN_OR_RETURN(const v1::CreateJobRequest request, MakeCreateJobRequest(flags.spec, flags.job, uploads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  RETURN_IF_ERROR(uploads.Send(*connection));
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
  v1::EstimateJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), MakeJobSpec(flags.spec, uploads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  RETURN_IF_ERROR(uploads.Send(*connection));
  ASSIGN_OR_RETURN(
      const v1::Estimate estimate,
      connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::EstimateJob, request));
  context.Print(estimate, RenderEstimate(estimate));
  return kExitOk;
}

}  // namespace

void AddSubmitCommands(CLI::App& app, CommandContext& context) {
  auto submit = std::make_shared<SubmitFlags>();
  CLI::App& command = AddCommand(app, context, "submit", "Create a job",
                                 [&context, submit] { return Submit(context, *submit); });
  AddSpecFlags(command, submit->spec);
  AddJobFlags(command, submit->job);
  command.add_flag("--watch,--wait", submit->watch, "Watch the job to its end");
  command.footer(kSubmitExamples);

  auto estimate = std::make_shared<SubmitFlags>();
  AddSpecFlags(AddCommand(app, context, "estimate", "Say what a job would need, without creating it",
                          [&context, estimate] { return RunEstimate(context, *estimate); }),
               estimate->spec);
}

}  // namespace quantmoe
