// quantmoe.v1.CatalogService: decode, call, encode.
#pragma once

#include "quantmoe/v1/catalog.grpc.pb.h"
#include "server/service_context.h"

namespace quantmoe {

class CatalogServiceHandler final : public v1::CatalogService::CallbackService {
 public:
  explicit CatalogServiceHandler(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* ListHeuristics(grpc::CallbackServerContext*, const v1::ListHeuristicsRequest*,
                                           v1::ListHeuristicsResponse*) override;
  grpc::ServerUnaryReactor* ListProfiles(grpc::CallbackServerContext*, const v1::ListProfilesRequest*,
                                         v1::ListProfilesResponse*) override;
  grpc::ServerUnaryReactor* InspectModel(grpc::CallbackServerContext*, const v1::InspectModelRequest*,
                                         v1::InspectModelResponse*) override;

 private:
  ServiceContext& context_;
};

}  // namespace quantmoe
