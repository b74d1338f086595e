// quantmoe.v1.BlobService: decode, call, encode. Uploads are resumable: what arrived of an interrupted one is
// kept.
#pragma once

#include "quantmoe/v1/blobs.grpc.pb.h"
#include "server/service_context.h"

namespace quantmoe {

class BlobServiceHandler final : public v1::BlobService::CallbackService {
 public:
  // Transfers are done in `room`, which must outlive it.
  BlobServiceHandler(ServiceContext& context, Executor& room) : context_(context), room_(room) {}

  grpc::ServerUnaryReactor* FindMissingBlobs(grpc::CallbackServerContext*, const v1::FindMissingBlobsRequest*,
                                             v1::FindMissingBlobsResponse*) override;
  grpc::ServerUnaryReactor* GetUploadStatus(grpc::CallbackServerContext*, const v1::GetUploadStatusRequest*,
                                            v1::GetUploadStatusResponse*) override;
  grpc::ServerReadReactor<v1::UploadBlobRequest>* UploadBlob(grpc::CallbackServerContext*,
                                                             v1::UploadBlobResponse*) override;
  grpc::ServerWriteReactor<v1::Chunk>* DownloadBlob(grpc::CallbackServerContext*,
                                                    const v1::DownloadBlobRequest*) override;

 private:
  ServiceContext& context_;
  Executor& room_;
};

}  // namespace quantmoe
