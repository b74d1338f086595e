#include "server/unary_call.h"

#include "absl/time/clock.h"

namespace quantmoe {
namespace {

const char* CodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return code >= 0 && code <= 16 ? kNames[code] : "Unknown";
}

}  // namespace

RpcRecord::RpcRecord(Metrics& metrics, std::string service, std::string method)
    : metrics_(metrics), service_("quantmoe.v1." + service), method_(std::move(method)), start_(absl::Now()) {
  metrics_.RpcStarted(service_, method_);
}

void RpcRecord::End(const grpc::Status& status) {
  metrics_.RpcHandled(service_, method_, CodeName(status.error_code()), absl::Now() - start_);
}

void FinishOnLoop(Core& core, UnaryReply reply, std::function<absl::Status()> body) {
  core.loop.Post([&core, reply, body = std::move(body)] {
    const absl::Status status = body();
    core.loop.AfterCommit(
        [reply, status](const absl::Status& committed) { reply.Finish(status.ok() ? committed : status); });
  });
}

void RunOnExecutor(Core& core, UnaryReply reply, std::function<void()> body) {
  if (!core.executor.Post(std::move(body))) reply.Finish(QueueFull());
}

absl::Status QueueFull() {
  return MakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                   "too many requests wait for an answer");
}

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
}

}  // namespace quantmoe
