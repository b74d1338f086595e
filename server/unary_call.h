// One unary RPC from decoding to reply. Reactions only queue: the body runs on the commit loop or on the
// executor, and the reply leaves from there.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include <grpcpp/grpcpp.h>

#include "base/error_info.h"
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
  UnaryReply(Core& core, grpc::CallbackServerContext* context, std::string service, std::string method)
      : record_(std::make_shared<RpcRecord>(core.metrics, std::move(service), std::move(method))),
        reactor_(context->DefaultReactor()) {}

  void Finish(const absl::Status& status) const {
    const grpc::Status wire = ToGrpcStatus(status);
    record_->End(wire);
    reactor_->Finish(wire);
  }
  grpc::ServerUnaryReactor* reactor() const { return reactor_; }

 private:
  std::shared_ptr<RpcRecord> record_;
  grpc::ServerUnaryReactor* reactor_;
};

// Runs `body` on the commit loop; its result is the reply once what it changed is committed.
void FinishOnLoop(Core& core, UnaryReply reply, std::function<absl::Status()> body);
// Runs `body` on the executor; RESOURCE_EXHAUSTED QUEUE_FULL when it takes no more. The body sees to the
// reply.
void RunOnExecutor(Core& core, UnaryReply reply, std::function<void()> body);

absl::Status QueueFull();
absl::Status ShuttingDown();

}  // namespace quantmoe
