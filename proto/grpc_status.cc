#include "proto/grpc_status.h"

#include <algorithm>

#include <google/rpc/error_details.pb.h>

#include "base/error_info.h"
#include "base/text.h"

namespace quantmoe {
namespace {

// gRPC refuses trailers above 8 KiB. The message travels twice: as itself, where bytes beyond ASCII take
// three, and in the details, which take four thirds of theirs.
constexpr size_t kMaxTrailerBytes = 7600;
constexpr size_t kMaxMessageBytes = 512;
constexpr size_t kMaxViolations = 20;
constexpr size_t kMaxFieldBytes = 128;
constexpr size_t kMaxDescriptionBytes = 200;
constexpr size_t kMaxMetadata = 12;
constexpr size_t kMaxMetadataBytes = 256;

google::rpc::ErrorInfo PackInfo(const ErrorInfo& info) {
  google::rpc::ErrorInfo detail;
  detail.set_reason(CutText(info.reason, kMaxFieldBytes));
  detail.set_domain(kErrorDomain);
  for (const auto& [key, value] : info.metadata) {
    if (static_cast<size_t>(detail.metadata_size()) == kMaxMetadata) break;
    (*detail.mutable_metadata())[CutText(key, kMaxFieldBytes)] = CutText(value, kMaxMetadataBytes);
  }
  return detail;
}

// As many violations as `bytes` hold.
google::rpc::BadRequest PackViolations(const std::vector<FieldViolation>& violations, size_t bytes) {
  google::rpc::BadRequest bad_request;
  for (size_t i = 0; i < std::min(violations.size(), kMaxViolations); ++i) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(CutText(violations[i].field, kMaxFieldBytes));
    violation->set_description(CutText(violations[i].description, kMaxDescriptionBytes));
    if (bad_request.ByteSizeLong() <= bytes) continue;
    bad_request.mutable_field_violations()->RemoveLast();
    break;
  }
  return bad_request;
}

// On the wire of HTTP/2, where everything but printable ASCII is percent-encoded.
size_t EncodedBytes(absl::string_view message) {
  return message.size() + 2 * std::count_if(message.begin(), message.end(),
                                            [](char c) { return c < ' ' || c > '~' || c == '%'; });
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(CutText(status.message(), kMaxMessageBytes));
  if (status.ok()) return proto;
  const ErrorInfo info = GetErrorInfo(status);
  proto.add_details()->PackFrom(PackInfo(info));
  if (info.violations.empty()) return proto;
  const size_t left = (kMaxTrailerBytes - EncodedBytes(proto.message())) * 3 / 4 - proto.ByteSizeLong();
  proto.add_details()->PackFrom(PackViolations(info.violations, left));
  return proto;
}

absl::Status FromRpcStatus(const google::rpc::Status& proto) {
  if (proto.code() == 0) return absl::OkStatus();
  absl::Status status(static_cast<absl::StatusCode>(proto.code()), ValidUtf8(proto.message()));
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

google::rpc::Status AdoptRpcStatus(const google::rpc::Status& proto) {
  return ToRpcStatus(FromRpcStatus(proto));
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
