#include "worker/outcome_report.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"

namespace quantmoe {
namespace {

v1::CompleteTaskRequest MakeComplete(const Reporter& reporter, const Attempt& attempt,
                                     const TaskOutcome& outcome) {
  v1::CompleteTaskRequest request;
  *request.mutable_attempt() = attempt.ref();
  request.set_worker_id(reporter.worker_id);
  request.set_seconds(outcome.seconds);
  request.set_peak_memory_bytes(outcome.peak_memory_bytes);
  request.set_determinism_class(reporter.determinism_class);
  for (const BlobRef& output : outcome.outputs) {
    v1::TaskBlob& blob = *request.add_outputs();
    blob.set_role(output.role);
    blob.mutable_digest()->set_sha256(output.digest.sha256);
    blob.mutable_digest()->set_size_bytes(output.digest.size_bytes);
  }
  return request;
}

v1::FailTaskRequest MakeFail(const Reporter& reporter, const Attempt& attempt, const TaskOutcome& outcome) {
  v1::FailTaskRequest request;
  *request.mutable_attempt() = attempt.ref();
  request.set_worker_id(reporter.worker_id);
  request.set_failure_class(ClassifyFailure(outcome.status));
  *request.mutable_error() = ToRpcStatus(outcome.status);
  request.set_seconds(outcome.seconds);
  return request;
}

}  // namespace

absl::Status ReportOutcome(CoordinatorClient& client, const Reporter& reporter, const Attempt& attempt,
                           const TaskOutcome& outcome, WorkerMetrics& metrics) {
  if (!outcome.status.ok()) {
    CrashPoint("before-fail");
    return client.FailTask(MakeFail(reporter, attempt, outcome));
  }
  CrashPoint("before-complete");
  ASSIGN_OR_RETURN(const v1::CompleteTaskResponse response,
                   client.CompleteTask(MakeComplete(reporter, attempt, outcome)));
  CrashPoint("after-complete");
  if (response.outcome() == v1::CompleteTaskResponse::STALE) {
    metrics.CountStale(attempt.spec().kind());
    Log(LogLevel::kWarning, "result came too late", {{"task", attempt.spec().task()}});
  }
  return absl::OkStatus();
}

bool WorthReportingAgain(const absl::Status& answer) {
  switch (answer.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return false;
    default:
      return true;
  }
}

}  // namespace quantmoe
