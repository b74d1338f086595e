// quantmoe.v1.ArtifactService: decode, call, encode.
#pragma once

#include "quantmoe/v1/artifacts.grpc.pb.h"
#include "server/service_context.h"

namespace quantmoe {

class ArtifactServiceHandler final : public v1::ArtifactService::CallbackService {
 public:
  explicit ArtifactServiceHandler(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* GetArtifact(grpc::CallbackServerContext*, const v1::GetArtifactRequest*,
                                        v1::Artifact*) override;
  grpc::ServerUnaryReactor* ListArtifacts(grpc::CallbackServerContext*, const v1::ListArtifactsRequest*,
                                          v1::ListArtifactsResponse*) override;
  grpc::ServerWriteReactor<v1::Chunk>* DownloadArtifact(grpc::CallbackServerContext*,
                                                        const v1::DownloadArtifactRequest*) override;

 private:
  ServiceContext& context_;
};

}  // namespace quantmoe
