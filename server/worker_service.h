// quantmoe.v1.WorkerService: decode, call, encode.
#pragma once

#include "quantmoe/v1/worker.grpc.pb.h"
#include "server/core.h"

namespace quantmoe {

class WorkerServiceHandler final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerServiceHandler(Core& core) : core_(core) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Session(
      grpc::CallbackServerContext*) override;
  grpc::ServerUnaryReactor* CompleteTask(grpc::CallbackServerContext*, const v1::CompleteTaskRequest*,
                                         v1::CompleteTaskResponse*) override;
  grpc::ServerUnaryReactor* FailTask(grpc::CallbackServerContext*, const v1::FailTaskRequest*,
                                     v1::FailTaskResponse*) override;

 private:
  Core& core_;
};

}  // namespace quantmoe
