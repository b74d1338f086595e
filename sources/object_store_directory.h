// Models in S3 and Google Cloud Storage. Credentials, region and endpoint come from the environment, as for
// the tools of those services: AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3), AWS_REGION, AWS_ACCESS_KEY_ID, ...;
// CLOUD_STORAGE_EMULATOR_ENDPOINT for GCS.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "sources/model_directory.h"
#include "sources/model_uri.h"

namespace quantmoe {

// `uri` is kS3 or kGcs. NOT_FOUND MODEL_NOT_FOUND; PERMISSION_DENIED SOURCE_ACCESS_DENIED; UNAVAILABLE
// OBJECT_STORE_UNAVAILABLE when the service cannot be reached.
absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenObjectStoreDirectory(const ModelUri& uri);

}  // namespace quantmoe
