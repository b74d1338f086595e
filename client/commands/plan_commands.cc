// pareto and plan diff: what the same solves give under other budgets, and how two plans differ.
#include <filesystem>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "cli/command_files.h"
#include "client/commands/commands.h"
#include "client/text/error_report.h"
#include "client/text/plan_diff.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

struct ParetoFlags {
  std::string job;
  int points = 0;
  std::string svg;
  std::vector<double> measure;
};

struct DiffFlags {
  std::string a, b;
  bool linears = false;
};

// A job with the same spec and another budget. The request id makes a repeated command find the same job.
absl::StatusOr<int> MeasureAt(CommandContext& context, const Connection& connection, const v1::Job& job,
                              double bits) {
  v1::CreateJobRequest request;
  *request.mutable_job()->mutable_spec() = job.spec();
  request.mutable_job()->mutable_spec()->mutable_budget()->set_average_bits(bits);
  request.mutable_job()->set_display_name(absl::StrCat("front of ", job.name(), " at ", bits, " bits"));
  request.set_request_id(absl::StrCat("pareto/", job.name(), "/", bits).substr(0, 64));
  ASSIGN_OR_RETURN(const v1::Job created,
                   connection.CallWithRetry(connection.jobs(), &v1::JobService::Stub::CreateJob, request));
  return WatchToEnd(context, connection, {.job = created.name()});
}

absl::StatusOr<int> Pareto(CommandContext& context, const ParetoFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::GetJobRequest get;
  get.set_name(ResourceName("jobs", flags.job));
  if (!flags.measure.empty()) {
    ASSIGN_OR_RETURN(const v1::Job job,
                     connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::GetJob, get));
    for (const double bits : flags.measure) {
      ASSIGN_OR_RETURN(const int code, MeasureAt(context, *connection, job, bits));
      if (code != kExitOk) return code;
    }
  }
  v1::GetJobParetoRequest request;
  request.set_name(get.name());
  request.set_points(flags.points);
  ASSIGN_OR_RETURN(
      const v1::JobPareto pareto,
      connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::GetJobPareto, request));
  if (!flags.svg.empty()) RETURN_IF_ERROR(WriteFile(flags.svg, pareto.svg()));
  context.out << (context.json ? absl::StrCat(pareto.json(), "\n") : pareto.text()) << std::flush;
  return kExitOk;
}

// A file when there is one of that name, else the report of a job. `argument` is what the usage calls it.
absl::StatusOr<ComparedPlan> ReadSide(CommandContext& context, const std::string& argument,
                                      const std::string& text) {
  std::error_code ignored;
  std::string path = text;
  if (std::filesystem::is_directory(path, ignored)) path = absl::StrCat(path, "/quantmoe_plan.json");
  if (std::filesystem::exists(path, ignored)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path, kMaxDataBytes));
    return ReadComparedPlan(OneLine(text), bytes);
  }
  if (ValidUtf8(text) != text) {
    return InvalidFields({{argument, absl::StrCat("there is no file '", OneLine(text),
                                                  "', and a job has no such name: it is not UTF-8")}});
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  v1::GetJobReportRequest request;
  request.set_name(ResourceName("jobs", text));
  ASSIGN_OR_RETURN(
      const v1::JobReport report,
      connection->CallWithRetry(connection->jobs(), &v1::JobService::Stub::GetJobReport, request));
  return ReadComparedPlan(text, report.json());
}

absl::StatusOr<int> Diff(CommandContext& context, const DiffFlags& flags) {
  ASSIGN_OR_RETURN(const ComparedPlan a, ReadSide(context, "a", flags.a));
  ASSIGN_OR_RETURN(const ComparedPlan b, ReadSide(context, "b", flags.b));
  ASSIGN_OR_RETURN(const std::string diff, PlanDiffJson(a, b));
  context.out << (context.json ? absl::StrCat(diff, "\n") : RenderPlanDiff(diff, flags.linears))
              << std::flush;
  return kExitOk;
}

}  // namespace

void AddPlanCommands(cli::Command app, CommandContext& context) {
  auto pareto = std::make_shared<ParetoFlags>();
  cli::Command front =
      AddCommand(app, context, "pareto", "Draw bytes against loss over all budgets of a finished job",
                 [&context, pareto] { return Pareto(context, *pareto); });
  front.Add("job", pareto->job, "Id or name of the job").Required().Type("JOB");
  front.Add("--points", pareto->points, "Budgets to solve, evenly spaced in bytes; 24 by default");
  front.Add("--svg", pareto->svg, "Also write the drawing here").Type(kOutputFile);
  front
      .Add(
          "--measure", pareto->measure,
          "Run jobs at these average bits, such as 2.5,3, and show their perplexity; nothing is solved again")
      .SplitAt(',')
      .OneValueEach();

  cli::Command plan = app.AddCommand("plan", "Look at plans");
  plan.RequireCommand();
  auto diff = std::make_shared<DiffFlags>();
  cli::Command command = AddCommand(plan, context, "diff", "Compare two plans",
                                    [&context, diff] { return Diff(context, *diff); });
  const char* what = "quantmoe_plan.json, an artifact directory, a report as JSON, or a job";
  command.Add("a", diff->a, what).Required().Type("FILE|JOB");
  command.Add("b", diff->b, what).Required().Type("FILE|JOB");
  command.AddSwitch("--linears", diff->linears, "Also one row per linear that changed");
}

}  // namespace quantmoe
