// quantmoe.v1.WorkerService: decode, call, encode.
#pragma once

#include "quantmoe/v1/worker.grpc.pb.h"
#include "server/service_context.h"

namespace quantmoe {

// Messages are read leniently: what a worker tells must count even if it, or another version of it, tells it
// in damaged text, which gRPC would end the session for.
using LenientWorkerService =
    v1::WorkerService::WithRawCallbackMethod_Session<v1::WorkerService::WithRawCallbackMethod_CompleteTask<
        v1::WorkerService::WithRawCallbackMethod_FailTask<v1::WorkerService::Service>>>;

class WorkerServiceHandler final : public LenientWorkerService {
 public:
  explicit WorkerServiceHandler(ServiceContext& context) : context_(context) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Session(grpc::CallbackServerContext*) override;
  grpc::ServerUnaryReactor* CompleteTask(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                         grpc::ByteBuffer*) override;
  grpc::ServerUnaryReactor* FailTask(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                     grpc::ByteBuffer*) override;

 private:
  ServiceContext& context_;
};

}  // namespace quantmoe
