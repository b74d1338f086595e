// The one place that knows absl::Status, grpc::Status and google.rpc.Status. Every error leaves with exactly
// one ErrorInfo (domain quantmoe.dev); violations become a BadRequest.
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

}  // namespace quantmoe
