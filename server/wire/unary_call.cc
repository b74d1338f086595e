#include "server/wire/unary_call.h"

#include <array>

#include <google/protobuf/descriptor.h>

#include "base/clock.h"
#include "base/interruption.h"
#include "quantmoe/v1/artifacts.pb.h"
#include "quantmoe/v1/blobs.pb.h"
#include "quantmoe/v1/catalog.pb.h"
#include "quantmoe/v1/jobs.pb.h"
#include "quantmoe/v1/system.pb.h"
#include "quantmoe/v1/worker.pb.h"

namespace quantmoe {
namespace {

// As go-grpc-prometheus writes them, so that dashboards for other services fit.
constexpr std::array<const char*, 17> kCodeNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const char* CodeName(grpc::StatusCode code) {
  return code >= 0 && code <= 16 ? kCodeNames[static_cast<size_t>(code)] : "Unknown";
}

}  // namespace

void ExpectCalls(Metrics& metrics) {
  const google::protobuf::FileDescriptor* const files[] = {v1::Job::descriptor()->file(),
                                                           v1::Artifact::descriptor()->file(),
                                                           v1::HeuristicInfo::descriptor()->file(),
                                                           v1::Worker::descriptor()->file(),
                                                           v1::UploadBlobRequest::descriptor()->file(),
                                                           v1::Hello::descriptor()->file()};
  for (const auto* file : files) {
    for (int i = 0; i < file->service_count(); ++i) {
      const google::protobuf::ServiceDescriptor& service = *file->service(i);
      for (int k = 0; k < service.method_count(); ++k) {
        for (const char* code : kCodeNames)
          metrics.ExpectRpc(service.full_name(), service.method(k)->name(), code);
      }
    }
  }
}

RpcRecord::RpcRecord(Metrics& metrics, std::string service, std::string method)
    : metrics_(metrics),
      service_("quantmoe.v1." + service),
      method_(std::move(method)),
      start_(Clock::Real().Monotonic()) {
  metrics_.RpcStarted(service_, method_);
}

void RpcRecord::End(const grpc::Status& status) {
  metrics_.RpcHandled(service_, method_, CodeName(status.error_code()), Clock::Real().Monotonic() - start_);
}

void FinishOnLoop(ServiceContext& context, UnaryReply reply, std::function<absl::Status()> body) {
  RunOnLoop(context, reply, [&context, reply, body = std::move(body)] {
    loop_thread.AssertHeld();
    const absl::Status status = body();
    context.loop.AfterCommit(
        [reply, status](const absl::Status& committed) { reply.Finish(status.ok() ? committed : status); });
  });
}

void RunOnLoop(ServiceContext& context, UnaryReply reply, std::function<void()> body) {
  if (!reply.admitted()) return;
  if (!context.loop.Offer(std::move(body))) reply.Finish(QueueFull());
}

void RunIn(Executor& room, UnaryReply reply, std::function<void()> body) {
  if (!reply.admitted()) return;
  const bool posted = room.Post([reply, body = std::move(body)] {
    if (reply.caller_gone()) return reply.Finish(CallerGone());
    const InterruptionScope scope([&reply] { return reply.caller_gone() ? CallerGone() : absl::OkStatus(); });
    body();
  });
  if (!posted) reply.Finish(QueueFull());
}

absl::Status QueueFull() {
  return MakeError(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                   "too many requests wait for an answer");
}

absl::Status CallerGone() {
  return MakeError(absl::StatusCode::kCancelled, "CALLER_GONE", "the caller has gone away");
}

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
}

}  // namespace quantmoe
