// One unary RPC from decoding to reply. Reactions only queue: the body runs on the commit loop or on the
// executor, and the reply leaves from there. A request with a field beyond its limit (proto/field_limits.h)
// is answered before anything is queued.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include <grpcpp/grpcpp.h>

#include "base/error_info.h"
#include "proto/field_limits.h"
#include "proto/grpc_status.h"
#include "server/core.h"

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
  const absl::Time start_;
};

// The reply to a unary call; Finish exactly once, on any thread. Copies stand for the same call.
class UnaryReply {
 public:
  UnaryReply(Core& core, grpc::CallbackServerContext* context, const google::protobuf::Message& request,
             std::string service, std::string method)
      : record_(std::make_shared<RpcRecord>(core.metrics, std::move(service), std::move(method))),
        reactor_(context->DefaultReactor()) {
    const absl::Status status = CheckFieldLimits(request);
    admitted_ = status.ok();
    if (!admitted_) Finish(status);
  }

  void Finish(const absl::Status& status) const {
    const grpc::Status wire = ToGrpcStatus(status);
    record_->End(wire);
    reactor_->Finish(wire);
  }
  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  // False: the request was refused and answered.
  bool admitted() const { return admitted_; }

 private:
  std::shared_ptr<RpcRecord> record_;
  grpc::ServerUnaryReactor* reactor_;
  bool admitted_ = false;
};

// Each runs `body` for a call that was admitted; RESOURCE_EXHAUSTED QUEUE_FULL when too many wait.
// On the commit loop; its result is the reply once what it changed is committed.
void FinishOnLoop(Core& core, UnaryReply reply, std::function<absl::Status()> body);
// On the commit loop; the body sees to the reply.
void RunOnLoop(Core& core, UnaryReply reply, std::function<void()> body);
// On the executor; the body sees to the reply.
void RunOnExecutor(Core& core, UnaryReply reply, std::function<void()> body);

absl::Status QueueFull();
absl::Status ShuttingDown();

}  // namespace quantmoe
