// What an error carries beside code and text: a stable reason, metadata, and every bad field. It travels
// inside absl::Status as a payload, so that folders without protobuf can give it; proto/grpc_status puts it
// on the wire.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct FieldViolation {
  std::string field;        // path in the request, e.g. "spec.gptq.group_size"
  std::string description;  // what is wrong, with the value

  friend bool operator==(const FieldViolation&, const FieldViolation&) = default;
};

struct ErrorInfo {
  std::string reason;  // UPPER_SNAKE; part of the API
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> violations;
};

// An error with a stable reason.
absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                       std::map<std::string, std::string> metadata = {});

// INVALID_ARGUMENT with reason INVALID_FIELD that names all violations; OK when there are none.
absl::Status InvalidFields(std::vector<FieldViolation> violations);

// The info of a status; without a payload, the reason is the name of the code.
ErrorInfo GetErrorInfo(const absl::Status& status);

// The same status with `info` attached.
absl::Status WithErrorInfo(absl::Status status, const ErrorInfo& info);

// The same code and info, with "context: " before the message.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace quantmoe
