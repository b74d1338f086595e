// quantmoe.v1.SystemService: decode, call, encode.
#pragma once

#include "quantmoe/v1/system.grpc.pb.h"
#include "server/service_context.h"

namespace quantmoe {

class SystemServiceHandler final : public v1::SystemService::CallbackService {
 public:
  SystemServiceHandler(ServiceContext& context, SchedulingLimits limits)
      : context_(context), limits_(limits) {}

  grpc::ServerUnaryReactor* GetCapabilities(grpc::CallbackServerContext*, const v1::GetCapabilitiesRequest*,
                                            v1::Capabilities*) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext*, const v1::ListWorkersRequest*,
                                        v1::ListWorkersResponse*) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext*, const v1::DrainWorkerRequest*,
                                        v1::Worker*) override;

 private:
  v1::Worker View(const WorkerFacts& worker) const ON_LOOP;
  absl::Status ListWorkerPage(const v1::ListWorkersRequest& request,
                              v1::ListWorkersResponse& response) const ON_LOOP;

  ServiceContext& context_;
  const SchedulingLimits limits_;
};

}  // namespace quantmoe
