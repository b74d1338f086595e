#include "client/text/error_report.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/program_exit.h"
#include "client/text/format.h"
#include "client/text/json_output.h"
#include "proto/grpc_status.h"

namespace quantmoe {
namespace {

std::string MetadataOr(const ErrorInfo& info, const std::string& key, absl::string_view fallback) {
  const auto found = info.metadata.find(key);
  return found == info.metadata.end() ? std::string(fallback) : found->second;
}

std::string BudgetHint(const ErrorInfo& info) {
  const std::string minimum = MetadataOr(info, "minimum", "");
  const std::string maximum = MetadataOr(info, "maximum", "");
  if (minimum.empty() && maximum.empty())
    return "`quantmoe estimate` shows the smallest and the largest budget";
  return absl::StrCat("ask for a budget from ", minimum.empty() ? "?" : minimum, " to ",
                      maximum.empty() ? "?" : maximum, "; `quantmoe estimate` shows both ends");
}

std::string Hint(const absl::Status& status, const ErrorInfo& info) {
  if (info.reason == "BIT_BUDGET_INFEASIBLE") return BudgetHint(info);
  static const auto& hints = *new std::map<std::string, std::string>{
      {"SOURCE_NOT_ALLOWED",
       "the server reads models only below its model roots; start quantmoe-server with --model-root DIR for "
       "a directory "
       "that holds the model, --model-root hf://OWNER for models of the Hub, or --model-root "
       "s3://BUCKET/PREFIX"},
      {"UNIMPLEMENTED",
       "the server does not know this call: it is of another version, or this is not the port of its API "
       "(--listen), "
       "but that of its workers"},
      {"JOB_ALREADY_EXISTS", "choose another --name, or leave it out"},
      {"JOB_NOT_TERMINAL", "wait for the job, cancel it, or use --force where there is one"},
      {"REQUEST_ID_PAYLOAD_MISMATCH", "use a new --request-id, or none"},
      {"REPORT_NOT_READY", "`quantmoe watch JOB` waits for the job to end"},
      {"JOB_NOT_FOUND", "`quantmoe list` shows the jobs"},
      {"ARTIFACT_NOT_FOUND", "`quantmoe artifact list` shows what is published"},
      {"NO_WORKER_LEFT",
       "the workers' logs say why they died; the job goes on when a worker connects, and `quantmoe watch` "
       "follows it "
       "again"},
      {"WORKER_NOT_FOUND", "`quantmoe workers` shows the workers"},
      {"DISK_FULL",
       "free space on the disk that is full (for jobs and uploads the server's data directory); what was "
       "transferred is kept"},
      {"DISK_READ_ONLY", "make the named directory writable; what was sent is kept"},
      {"MODEL_UNSUPPORTED", "`quantmoe capabilities` lists the model families"},
      {"MODEL_NOT_FOUND",
       "a directory must exist on the server's machine; hf://OWNER/NAME is a model of the Hub"},
      {"SOURCE_ACCESS_DENIED",
       "start quantmoe-server and its workers with --hub-token-from, or with the bucket's credentials in "
       "their "
       "environment"},
      {"TOO_MANY_FALLBACKS",
       "give more text with --calibration, --samples or --sequence-length, or allow it with "
       "--max-fallback-ratio"},
      {"TOKENIZER_HAS_NO_BOS", "leave --add-bos out"},
      {"NO_CAPABLE_WORKER", "`quantmoe workers` shows their memory; start one with more, or with --memory"},
      {"TASK_KILLS_WORKERS",
       "the last lines of the workers' logs say how they died; `quantmoe describe JOB` names them"},
  };
  if (const auto hint = hints.find(info.reason); hint != hints.end()) return hint->second;
  if (absl::IsUnavailable(status)) {
    return "start a server with `quantmoe-server --data-dir DIR`, or name one with --server or "
           "QUANTMOE_SERVER";
  }
  if (absl::IsDeadlineExceeded(status)) return "allow more time with --timeout SECONDS";
  if (absl::IsUnauthenticated(status))
    return "give a token with --token-file, or a certificate with --tls-cert";
  return "";
}

std::string Message(const absl::Status& status, absl::string_view server) {
  std::string message = Printable(status.message());
  if (absl::IsUnavailable(status)) return absl::StrCat("cannot reach the server at ", server, ": ", message);
  if (!message.empty()) return message;
  return absl::StatusCodeToString(status.code());
}

// The flag that a field of a request comes from, with what follows of the field; another field as it is.
std::string FlagOf(const std::string& field) {
  constexpr std::pair<absl::string_view, absl::string_view> kFlags[] = {
      {"job_id", "--name"},      {"job.display_name", "--display-name"},
      {"job.labels", "--label"}, {"request_id", "--request-id"},
      {"filter", "--state"},     {"reason", "--reason"},
      {"points", "--points"},    {"after_seq", "--after-seq"}};
  for (const auto& [name, flag] : kFlags) {
    absl::string_view rest = field;
    if (absl::ConsumePrefix(&rest, name) && (rest.empty() || rest.front() == '[' || rest.front() == '.'))
      return absl::StrCat(flag, rest);
  }
  return field;
}

// The status as a command line speaks of it, with texts that are one line each.
absl::Status AsTyped(const absl::Status& status, ErrorInfo info, absl::string_view server) {
  for (FieldViolation& violation : info.violations)
    violation = {FlagOf(violation.field), Printable(violation.description)};
  return WithErrorInfo(absl::Status(status.code(), Message(status, server)), info);
}

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  const std::string reason = GetErrorInfo(status).reason;
  if (reason == "BIT_BUDGET_INFEASIBLE" || reason == "SOURCE_NOT_ALLOWED" || reason == "MODEL_NOT_FOUND")
    return kExitInvalid;
  if (absl::IsInvalidArgument(status)) return kExitInvalid;
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) return kExitUnavailable;
  return kExitFailed;
}

std::string RenderError(const absl::Status& status, absl::string_view server) {
  const ErrorInfo info = GetErrorInfo(status);
  std::string text = DescribeError("quantmoe", AsTyped(status, info, server));
  if (const std::string hint = Hint(status, info); !hint.empty()) {
    absl::StrAppend(&text, "  hint: ", Printable(hint), "\n");
  }
  return text;
}

std::string ErrorJson(const absl::Status& status) { return JsonDocument(ToRpcStatus(status)); }

}  // namespace quantmoe
