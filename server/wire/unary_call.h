// One unary RPC from decoding to reply. Reactions only queue: the body runs on the commit loop or in a room,
// and the reply leaves from there. A request with a field beyond its limit (proto/field_limits.h) is answered
// before anything is queued.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include <grpcpp/grpcpp.h>

#include "base/error_info.h"
#include "proto/field_limits.h"
#include "proto/grpc_status.h"
#include "server/service_context.h"

namespace quantmoe {

// Makes the series of every method and code exist.
void ExpectCalls(Metrics& metrics);

// Counts an RPC from its start to its end.
class RpcRecord {
 public:
  RpcRecord(Metrics& metrics, std::string service, std::string method);
  void End(const grpc::Status& status);

 private:
  Metrics& metrics_;
  const std::string service_;
  const std::string method_;
  const absl::Duration start_;  // monotonic
};

// The reply to a unary call; Finish exactly once, on any thread. Copies stand for the same call.
class UnaryReply {
 public:
  UnaryReply(ServiceContext& context, grpc::CallbackServerContext* call,
             const google::protobuf::Message& request, std::string service, std::string method)
      : state_(std::make_shared<State>(context.metrics, std::move(service), std::move(method), call)),
        reactor_(call->DefaultReactor()) {
    const absl::Status status = CheckFieldLimits(request);
    admitted_ = status.ok();
    if (!admitted_) Finish(status);
  }

  void Finish(const absl::Status& status) const {
    const grpc::Status wire = ToGrpcStatus(status);
    state_->record.End(wire);
    {
      absl::MutexLock lock(&state_->mutex);
      state_->call = nullptr;
    }
    reactor_->Finish(wire);
  }
  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  // False: the request was refused and answered.
  bool admitted() const { return admitted_; }
  // The client went away or its deadline has passed: nobody reads the reply.
  bool caller_gone() const {
    absl::MutexLock lock(&state_->mutex);
    return state_->call == nullptr || state_->call->IsCancelled();
  }

 private:
  struct State {
    State(Metrics& metrics, std::string service, std::string method, grpc::CallbackServerContext* c)
        : record(metrics, std::move(service), std::move(method)), call(c) {}
    RpcRecord record;
    absl::Mutex mutex;
    grpc::CallbackServerContext* call ABSL_GUARDED_BY(mutex);  // null once it is finished, and gone with it
  };
  std::shared_ptr<State> state_;
  grpc::ServerUnaryReactor* reactor_;
  bool admitted_ = false;
};

// Each runs `body` for a call that was admitted; RESOURCE_EXHAUSTED QUEUE_FULL when too many wait.
// On the commit loop; its result is the reply once what it changed is committed.
void FinishOnLoop(ServiceContext& context, UnaryReply reply, std::function<absl::Status()> body);
// On the commit loop; the body sees to the reply.
void RunOnLoop(ServiceContext& context, UnaryReply reply, std::function<void()> body);
// In a room, unless the caller is gone by then. The body sees to the reply, and is interrupted
// (base/interruption.h) when the caller goes.
void RunIn(Executor& room, UnaryReply reply, std::function<void()> body);

absl::Status QueueFull();
// What ends the work for a caller that is gone.
absl::Status CallerGone();
absl::Status ShuttingDown();

}  // namespace quantmoe
