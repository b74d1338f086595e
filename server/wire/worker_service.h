// quantmoe.v1.WorkerService: decode, call, encode.
#pragma once

#include "quantmoe/v1/worker.grpc.pb.h"
#include "server/core.h"

namespace quantmoe {

// FailTask is read leniently: a failure must end the attempt even if a worker of another version tells it in
// damaged text.
using LenientWorkerService =
    v1::WorkerService::WithCallbackMethod_Session<v1::WorkerService::WithCallbackMethod_CompleteTask<
        v1::WorkerService::WithRawCallbackMethod_FailTask<v1::WorkerService::Service>>>;

class WorkerServiceHandler final : public LenientWorkerService {
 public:
  explicit WorkerServiceHandler(Core& core) : core_(core) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Session(
      grpc::CallbackServerContext*) override;
  grpc::ServerUnaryReactor* CompleteTask(grpc::CallbackServerContext*, const v1::CompleteTaskRequest*,
                                         v1::CompleteTaskResponse*) override;
  grpc::ServerUnaryReactor* FailTask(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                     grpc::ByteBuffer*) override;

 private:
  Core& core_;
};

}  // namespace quantmoe
