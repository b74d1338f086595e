// Streams the bytes of a file to a client in chunks; the next piece is read only when the last one has left,
// so a slow client costs one chunk of memory.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include <grpcpp/grpcpp.h>

#include "quantmoe/v1/types.pb.h"
#include "server/service_context.h"
#include "storage/mapped_file.h"

namespace quantmoe {

using FileOpener = std::function<absl::StatusOr<MappedFile>()>;

// `locate` runs on the commit loop and may refuse; the opener that it gives runs in `room`.
// OUT_OF_RANGE for an offset outside the file; INVALID_ARGUMENT for a request with a field beyond its limit.
grpc::ServerWriteReactor<v1::Chunk>* StartChunkStream(ServiceContext& context, Executor& room,
                                                      const char* service, const char* method,
                                                      const google::protobuf::Message& request,
                                                      int64_t offset,
                                                      std::function<absl::StatusOr<FileOpener>()> locate);

}  // namespace quantmoe
