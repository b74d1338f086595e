// Times on the wire.
#pragma once

#include "absl/time/time.h"
#include <google/protobuf/timestamp.pb.h>

namespace quantmoe {

inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t us = absl::ToUnixMicros(time);
  timestamp.set_seconds(us / 1000000);
  timestamp.set_nanos(static_cast<int32_t>(us % 1000000) * 1000);
  return timestamp;
}

inline google::protobuf::Timestamp TimestampFromMicros(int64_t us) {
  return ToTimestamp(absl::FromUnixMicros(us));
}

}  // namespace quantmoe
