#include "worker/task_runner.h"

#include <exception>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/error_info.h"
#include "base/exception_text.h"
#include "base/host_memory.h"
#include "base/interruption.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

absl::StatusOr<std::vector<BlobRef>> Call(Attempt& attempt, const RunEnvironment& environment) {
  const v1::TaskSpec& spec = attempt.spec();
  absl::StatusOr<TaskKind> kind = ParseTaskKind(spec.kind());
  if (!kind.ok())
    return absl::UnimplementedError("this worker does not know tasks of kind \"" + spec.kind() + "\"");
  std::vector<BlobRef> inputs;
  for (const v1::TaskBlob& input : spec.inputs()) {
    inputs.push_back({input.role(), Digest{input.digest().sha256(), input.digest().size_bytes()}});
  }
  TaskContext context{
      environment.blobs, environment.models,
      [&attempt](double fraction, absl::string_view phase) { attempt.Advance(fraction, phase); },
      attempt.cancelled(), environment.device};
  attempt.Advance(0, "starting");
  return environment.run_task(*kind, spec.params_json(), inputs, context);
}

absl::StatusOr<std::vector<BlobRef>> CallGuarded(Attempt& attempt, const RunEnvironment& environment) {
  try {
    return Call(attempt, environment);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while the task ran");
  } catch (const std::exception& error) {
    return absl::InternalError(ExceptionText(error));
  } catch (...) {
    return absl::InternalError("an unknown exception left the task");
  }
}

}  // namespace

v1::AttemptRef Attempt::ref() const {
  v1::AttemptRef ref;
  ref.set_task(spec_.task());
  ref.set_token(token_);
  return ref;
}

void Attempt::Advance(double fraction, absl::string_view phase) {
  absl::MutexLock lock(&mutex_);
  ++ticks_;
  fraction_ = fraction;
  phase_ = std::string(phase);
}

v1::RunningAttempt Attempt::Progress() const {
  v1::RunningAttempt running;
  *running.mutable_attempt() = ref();
  absl::MutexLock lock(&mutex_);
  running.set_progress_ticks(ticks_);
  running.set_fraction(fraction_);
  running.set_phase(phase_);
  return running;
}

TaskOutcome RunAttempt(Attempt& attempt, const RunEnvironment& environment) {
  ResetPeakMemory();
  const absl::Duration start = Clock::Real().Monotonic();
  const InterruptionScope scope([&attempt] {
    return attempt.cancelled() ? absl::CancelledError("the task was cancelled") : absl::OkStatus();
  });
  absl::StatusOr<std::vector<BlobRef>> outputs = CallGuarded(attempt, environment);
  TaskOutcome outcome;
  outcome.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  outcome.peak_memory_bytes = PeakMemoryBytes();
  outcome.status = outputs.status();
  if (outputs.ok()) outcome.outputs = *std::move(outputs);
  return outcome;
}

absl::Status CheckMemoryNeed(const v1::TaskSpec& task, int64_t available_bytes) {
  if (available_bytes == 0 || task.memory_bytes() <= available_bytes) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, "WORKER_MEMORY",
      absl::StrCat("the task needs ", task.memory_bytes(), " bytes, the worker has ", available_bytes),
      {{"needed_bytes", absl::StrCat(task.memory_bytes())},
       {"available_bytes", absl::StrCat(available_bytes)}});
}

v1::FailTaskRequest::FailureClass ClassifyFailure(const absl::Status& status) {
  const std::string reason = GetErrorInfo(status).reason;
  if (reason == "NUMERIC_FAILURE") return v1::FailTaskRequest::NUMERIC;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
      return v1::FailTaskRequest::PERMANENT;
    // A blob can be uploaded again by whoever made it; a model that is not there will not come by trying.
    case absl::StatusCode::kNotFound:
      return reason == "BLOB_NOT_FOUND" ? v1::FailTaskRequest::INFRASTRUCTURE
                                        : v1::FailTaskRequest::PERMANENT;
    case absl::StatusCode::kResourceExhausted:
      return reason == "DISK_FULL" ? v1::FailTaskRequest::INFRASTRUCTURE : v1::FailTaskRequest::OUT_OF_MEMORY;
    case absl::StatusCode::kCancelled:
      return v1::FailTaskRequest::DRAINED;
    default:
      return v1::FailTaskRequest::INFRASTRUCTURE;
  }
}

}  // namespace quantmoe
