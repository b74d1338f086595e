// The one place that knows absl::Status, grpc::Status and google.rpc.Status. Every error leaves with exactly
// one ErrorInfo (domain quantmoe.dev); violations become a BadRequest. Texts leave as valid UTF-8, cut at
// whole characters, and all of it fits into the trailers of a call.
#pragma once

#include "absl/status/status.h"
#include <google/rpc/status.pb.h>
#include <grpcpp/support/status.h>

namespace quantmoe {

inline constexpr char kErrorDomain[] = "quantmoe.dev";

grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

google::rpc::Status ToRpcStatus(const absl::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

// What another program reports, within the limits of ours: one ErrorInfo and one BadRequest at most, texts
// cut.
google::rpc::Status AdoptRpcStatus(const google::rpc::Status& status);

}  // namespace quantmoe
