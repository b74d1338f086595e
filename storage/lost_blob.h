// Which errors mean that a blob is gone and has to be made again.
#pragma once

#include "absl/status/status.h"

#include "base/error_info.h"

namespace quantmoe {

// Of the errors of BlobStore::Open. A blob that an upload damages on its way is another matter.
inline bool IsLostBlob(const absl::Status& error) {
  const std::string reason = GetErrorInfo(error).reason;
  return reason == "BLOB_NOT_FOUND" || (reason == "DIGEST_MISMATCH" && absl::IsDataLoss(error));
}

}  // namespace quantmoe
