#include "proto/grpc_status.h"

#include <algorithm>

#include <google/rpc/error_details.pb.h>

#include "base/error_info.h"

namespace quantmoe {
namespace {

// Trailers must stay under gRPC's default metadata limit of 8 KiB.
constexpr size_t kMaxViolations = 20;
// The message travels twice: as itself and inside the details.
constexpr size_t kMaxMessageBytes = 512;

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(std::string(status.message().substr(0, kMaxMessageBytes)));
  if (status.ok()) return proto;
  const ErrorInfo info = GetErrorInfo(status);
  google::rpc::ErrorInfo detail;
  detail.set_reason(info.reason);
  detail.set_domain(kErrorDomain);
  for (const auto& [key, value] : info.metadata) (*detail.mutable_metadata())[key] = value.substr(0, 256);
  proto.add_details()->PackFrom(detail);
  if (info.violations.empty()) return proto;
  google::rpc::BadRequest bad_request;
  for (size_t i = 0; i < std::min(info.violations.size(), kMaxViolations); ++i) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(info.violations[i].field);
    violation->set_description(info.violations[i].description.substr(0, 200));
  }
  proto.add_details()->PackFrom(bad_request);
  return proto;
}

absl::Status FromRpcStatus(const google::rpc::Status& proto) {
  if (proto.code() == 0) return absl::OkStatus();
  absl::Status status(static_cast<absl::StatusCode>(proto.code()), proto.message());
  ErrorInfo info;
  for (const google::protobuf::Any& any : proto.details()) {
    google::rpc::ErrorInfo detail;
    google::rpc::BadRequest bad_request;
    if (any.UnpackTo(&detail)) {
      info.reason = detail.reason();
      info.metadata.insert(detail.metadata().begin(), detail.metadata().end());
    } else if (any.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        info.violations.push_back({violation.field(), violation.description()});
      }
    }
  }
  return info.reason.empty() ? status : WithErrorInfo(std::move(status), info);
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status proto = ToRpcStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(proto.code()), proto.message(),
                      proto.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status proto;
  if (!status.error_details().empty() && proto.ParseFromString(status.error_details()) && proto.code() != 0) {
    return FromRpcStatus(proto);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace quantmoe
