// compare: heuristics x budgets on one model. Every combination is a job of its own; the server computes what
// they have in common once. Ids of requests are digests of what they ask, so that the same command finds the
// same jobs.
#include <memory>
#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/command_files.h"
#include "cli/compare_flags.h"
#include "cli/comparison.h"
#include "client/commands/commands.h"
#include "client/compare/compare_cases.h"
#include "client/compare/comparison_page.h"
#include "client/compare/comparison_tables.h"
#include "client/text/error_report.h"
#include "client/text/format.h"
#include "client/text/resource_text.h"
#include "proto/job_state.h"

namespace quantmoe {
namespace {

struct CompareCommandFlags {
  cli::CompareFlags compared;
  std::string name;
  std::string markdown, html, json;
};

// What the server refused, by violation, with the jobs that it refused for it.
struct Refusals {
  absl::Status first;
  std::vector<std::pair<FieldViolation, std::vector<std::string>>> found;

  void Add(const absl::Status& status, const std::string& title) {
    if (first.ok()) first = status;
    std::vector<FieldViolation> violations = GetErrorInfo(status).violations;
    if (violations.empty()) violations.push_back({"", std::string(status.message())});
    for (const FieldViolation& violation : violations) {
      auto known = found.begin();
      while (known != found.end() && known->first != violation) ++known;
      if (known == found.end()) known = found.insert(found.end(), {violation, {}});
      known->second.push_back(title);
    }
  }

  // One error for all of them; a complaint that not every job has tells whose it is.
  absl::Status Result(size_t cases) const {
    if (first.ok()) return first;
    ErrorInfo info = GetErrorInfo(first);
    info.violations.clear();
    for (const auto& [violation, titles] : found) {
      std::string field = titles.size() == cases ? "" : absl::StrJoin(titles, "; ");
      if (!violation.field.empty()) absl::StrAppend(&field, field.empty() ? "" : ": ", violation.field);
      info.violations.push_back({field.empty() ? "all jobs" : field, violation.description});
    }
    return WithErrorInfo(absl::Status(first.code(), first.message()), info);
  }
};

std::string TitleOf(const CompareCase& one) {
  return absl::StrCat(one.compared.heuristic, " at ", one.compared.budget);
}

class ComparisonRun {
 public:
  ComparisonRun(CommandContext& context, const Connection& connection, std::vector<CompareCase> cases)
      : context_(context),
        connection_(connection),
        cases_(std::move(cases)),
        progress_(context.json || context.terminal_columns() == 0 ? context.err : context.out, context.err) {
    progress_.connection = context.connection;
    progress_.interrupted = context.interrupted;
    if (!context.json) progress_.terminal_columns = context.terminal_columns;
  }

  // Before any job is created, so that nothing starts when one of them is wrong.
  absl::Status Validate() const {
    Refusals refusals;
    for (const CompareCase& one : cases_) {
      v1::CreateJobRequest request = one.request;
      request.clear_request_id();
      request.set_validate_only(true);
      absl::Status status = Create(request).status();
      if (absl::IsUnavailable(status)) return status;
      if (!status.ok()) refusals.Add(status, TitleOf(one));
    }
    return refusals.Result(cases_.size());
  }

  // All at once: the server runs a task that several of them need for the first, and the others wait for it.
  absl::Status Submit() {
    for (CompareCase& one : cases_) {
      absl::StatusOr<v1::Job> job = CreateOrRetry(one.request);
      if (absl::IsUnavailable(job.status())) return job.status();
      if (!job.ok()) {
        one.compared.failure = std::string(job.status().message());
        continue;
      }
      one.job = *std::move(job);
      one.compared.job = one.job.name();
    }
    return absl::OkStatus();
  }

  // False when the watcher left before the end.
  absl::StatusOr<bool> Watch() {
    for (size_t i = 0; i < cases_.size(); ++i) {
      CompareCase& one = cases_[i];
      if (one.compared.job.empty()) continue;
      if (!IsTerminal(one.job.state())) {
        progress_.out << absl::StrFormat("[%d/%d] %s: %s", i + 1, cases_.size(), Printable(TitleOf(one)),
                                         Printable(one.compared.job))
                      << std::endl;
        RETURN_IF_ERROR(WatchToEnd(progress_, connection_, {.job = one.compared.job}).status());
        if (context_.interrupted()) return false;
      }
      RETURN_IF_ERROR(Read(one));
    }
    return true;
  }

  Comparison Result() const {
    Comparison comparison = comparison_;
    comparison.model = cases_.front().request.job().spec().model().uri();
    for (const CompareCase& one : cases_) comparison.jobs.push_back(one.compared);
    AlignLosses(comparison);
    NamePlans(comparison);
    MarkBest(comparison);
    return comparison;
  }

 private:
  absl::StatusOr<v1::Job> Create(const v1::CreateJobRequest& request) const {
    return connection_.CallWithRetry(connection_.jobs(), &v1::JobService::Stub::CreateJob, request);
  }

  // The job of the request. One that had ended without success before this command is run again, once each
  // time the command is; ids of these requests follow from the job's, so that they lead to the newest.
  absl::StatusOr<v1::Job> CreateOrRetry(const v1::CreateJobRequest& request) const {
    ASSIGN_OR_RETURN(v1::Job job, Create(request));
    while (job.state() == v1::Job::FAILED || job.state() == v1::Job::CANCELLED) {
      v1::RetryJobRequest retry;
      retry.set_name(job.name());
      retry.set_request_id(CompareRequestId(absl::StrCat(request.request_id(), "/", job.name())));
      ASSIGN_OR_RETURN(job,
                       connection_.CallWithRetry(connection_.jobs(), &v1::JobService::Stub::RetryJob, retry));
    }
    return job;
  }

  absl::Status Read(CompareCase& one) {
    v1::GetJobRequest get;
    get.set_name(one.compared.job);
    ASSIGN_OR_RETURN(one.job,
                     connection_.CallWithRetry(connection_.jobs(), &v1::JobService::Stub::GetJob, get));
    ReadCost(one.job, one.compared);
    if (one.job.state() != v1::Job::SUCCEEDED) {
      one.compared.failure =
          one.job.error().message().empty() ? StateName(one.job.state()) : one.job.error().message();
      return absl::OkStatus();
    }
    v1::GetJobReportRequest request;
    request.set_name(one.compared.job);
    ASSIGN_OR_RETURN(
        const v1::JobReport report,
        connection_.CallWithRetry(connection_.jobs(), &v1::JobService::Stub::GetJobReport, request));
    return ReadReport(one.job.name(), report.json(), one.compared, comparison_);
  }

  CommandContext& context_;
  const Connection& connection_;
  std::vector<CompareCase> cases_;
  Comparison comparison_;
  CommandContext progress_;  // where the jobs are watched: standard output is for the table
};

absl::Status WriteFiles(const CompareCommandFlags& flags, const Comparison& comparison) {
  if (!flags.markdown.empty()) RETURN_IF_ERROR(WriteFile(flags.markdown, ComparisonMarkdown(comparison)));
  if (!flags.html.empty()) RETURN_IF_ERROR(WriteFile(flags.html, ComparisonPage(comparison)));
  if (!flags.json.empty()) RETURN_IF_ERROR(WriteFile(flags.json, ComparisonJson(comparison)));
  return absl::OkStatus();
}

absl::StatusOr<int> Compare(CommandContext& context, const CompareCommandFlags& flags) {
  FileUploads uploads;
  ASSIGN_OR_RETURN(std::vector<CompareCase> cases, MakeCompareCases(flags.compared, flags.name, uploads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  RETURN_IF_ERROR(uploads.Send(*connection));
  ComparisonRun run(context, *connection, std::move(cases));
  RETURN_IF_ERROR(run.Validate());
  RETURN_IF_ERROR(run.Submit());
  ASSIGN_OR_RETURN(const bool ended, run.Watch());
  if (!ended) {
    context.err << "quantmoe: the same command goes on with the same jobs" << std::endl;
    return kExitOk;
  }
  const Comparison comparison = run.Result();
  context.out << (context.json ? ComparisonJson(comparison) : RenderComparison(comparison)) << std::flush;
  RETURN_IF_ERROR(WriteFiles(flags, comparison));
  for (const ComparedJob& job : comparison.jobs) {
    if (!job.failure.empty()) return kExitFailed;
  }
  return kExitOk;
}

}  // namespace

void AddCompareCommand(cli::Command app, CommandContext& context) {
  const auto flags = std::make_shared<CompareCommandFlags>();
  cli::Command command = AddCommand(app, context, "compare", "Compare heuristics and budgets on one model",
                                    [&context, flags] { return Compare(context, *flags); });
  cli::AddCompareFlags(command, flags->compared);
  command.Add("--name", flags->name, "Start of the jobs' ids; the server chooses them by default")
      .Type("PREFIX");
  command.Add("--markdown", flags->markdown, "Also write the tables as Markdown").Type(kOutputFile);
  command.Add("--html", flags->html, "Also write them as a page for a browser").Type(kOutputFile);
  command.Add("--out-json", flags->json, "Also write them as JSON").Type(kOutputFile);
  command.SetFooter(
      "The same command finds the same jobs: finished ones are read, failed ones run again. Ctrl-C leaves "
      "the\n"
      "jobs running. Exit code: 0 all jobs succeeded, 1 some failed (the table says why).");
}

}  // namespace quantmoe
